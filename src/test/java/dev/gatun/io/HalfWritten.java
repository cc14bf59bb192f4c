package dev.gatun.io;

import java.io.IOException;
import java.nio.file.Path;

/** Begins files until its JVM ends, in a shutdown hook as well. Arguments: a folder. */
final class HalfWritten {
  private HalfWritten() {}

  public static void main(String[] args) throws IOException {
    Path folder = Path.of(args[0]);
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  try {
                    NpyOutput.create(folder.resolve("late.npy"));
                    System.out.println("created");
                  } catch (IOException e) {
                    System.out.println(e.getMessage());
                  }
                }));
    NpyOutput.create(folder.resolve("begun.npy"));
    System.out.println("ready");
    while (true) {
      NpyOutput.create(folder.resolve("another.npy")).close();
    }
  }
}

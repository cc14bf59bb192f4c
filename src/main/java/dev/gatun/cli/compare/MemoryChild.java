package dev.gatun.cli.compare;

import dev.gatun.GatunRuntime;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * A process that lives for one call: by how much does it grow? Inputs and outputs exist and were
 * written before, and so were the Java heap and all code that a short call needs; then the peak of
 * resident memory is set back ({@code /proc/self/clear_refs}), and what stands above it after one
 * call was the call's: what its preparation made, and scratch.
 */
public final class MemoryChild {
  private static final long SHORT = 128;

  private MemoryChild() {}

  /** Whether this system tells what is resident. */
  static boolean isAvailable() {
    return Files.isWritable(Path.of("/proc/self/clear_refs"));
  }

  static String[] arguments(CompareSystem system, Setting setting, int threads) {
    return new String[] {
      system.word(),
      Long.toString(setting.length()),
      Integer.toString(setting.heads()),
      Integer.toString(setting.headDim()),
      Integer.toString(setting.features()),
      Integer.toString(setting.window()),
      Integer.toString(threads)
    };
  }

  /**
   * Prints the bytes.
   *
   * @param args system, length, heads, headDim, features, window, threads
   * @throws IOException if /proc cannot be read
   */
  public static void main(String[] args) throws IOException {
    CompareSystem system = Systems.of(args[0]);
    Setting setting =
        new Setting(
            Long.parseLong(args[1]),
            Integer.parseInt(args[2]),
            Integer.parseInt(args[3]),
            Integer.parseInt(args[4]),
            Integer.parseInt(args[5]));
    try (GatunRuntime runtime = GatunRuntime.builder().threads(Integer.parseInt(args[6])).build()) {
      try (Arena arena = Arena.ofConfined()) {
        Setting small = setting.withLength(Math.min(SHORT, setting.length()));
        system.prepare(runtime, new Inputs(small, arena), arena).run();
      }
      try (Arena arena = Arena.ofConfined()) {
        Inputs inputs = new Inputs(setting, arena);
        inputs.out.fill(1);
        Files.writeString(Path.of("/proc/self/clear_refs"), "5");
        long before = status("VmRSS");
        system.prepare(runtime, inputs, arena).run();
        System.out.println(Math.max(0, status("VmHWM") - before));
      }
    }
  }

  /** A number of /proc/self/status, in bytes. */
  private static long status(String name) throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith(name + ":")) {
        return Long.parseLong(line.replaceAll("[^0-9]", "")) << 10;
      }
    }
    throw new IOException("/proc/self/status: no " + name);
  }
}

package dev.gatun.support;

import dev.gatun.GatunRuntime;
import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.TextEmbedder;
import java.io.IOException;
import java.nio.file.Path;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordingFile;

/**
 * Embeds one text with the model of a folder; with a second argument then another one, recorded in
 * the file of that name.
 */
public final class FirstVectorMain {

  private FirstVectorMain() {}

  public static void main(String[] arguments) throws IOException {
    try (GatunRuntime runtime = GatunRuntime.create();
        TextEmbedder model =
            TextEmbedder.load(runtime, EmbeddingModelSpec.folder(Path.of(arguments[0])))) {
      float[] vector = model.embed("the cat sat");
      System.out.println(vector.length);
      if (arguments.length > 1) {
        try (Recording recording = new Recording()) {
          recording.start();
          model.embed("the cat");
          recording.stop();
          recording.dump(Path.of(arguments[1]));
        }
        RecordingFile.readAllEvents(Path.of(arguments[1])).stream()
            .map(event -> event.getEventType().getName())
            .filter(name -> name.startsWith("dev.gatun."))
            .forEach(System.out::println);
      }
    }
  }
}

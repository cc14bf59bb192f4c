package dev.gatun.support;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;

/** What Flight Recorder sees. */
public final class Recordings {

  private Recordings() {}

  /** Records in a file of this folder, and returns Gatun's events. */
  public static List<RecordedEvent> of(Path folder, Runnable calls) throws IOException {
    Path file = folder.resolve("events.jfr");
    try (Recording recording = new Recording()) {
      // Without a setting of their own: the types are on as soon as somebody records.
      recording.start();
      calls.run();
      recording.stop();
      recording.dump(file);
    }
    return RecordingFile.readAllEvents(file).stream()
        .filter(event -> event.getEventType().getName().startsWith("dev.gatun."))
        .toList();
  }
}

package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.gatun.internal.AttentionEvent;
import dev.gatun.internal.ModelEvent;
import dev.gatun.nn.LayerNorm;
import dev.gatun.nn.Linear;
import dev.gatun.nn.MultiHeadAttention;
import dev.gatun.nn.Sequences;
import dev.gatun.support.Recordings;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** JFR events, one a call, and counters of layers. */
class EventsTest {

  private static final String ATTENTION = "dev.gatun.Attention";
  private static final String MODEL = "dev.gatun.Model";

  @TempDir Path folder;

  private List<RecordedEvent> record(Runnable calls) throws IOException {
    return Recordings.of(folder, calls);
  }

  @Test
  void oneEventForEachCall() throws IOException {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(3).build();
        Arena arena = Arena.ofConfined()) {
      Tensor q = Tensor.allocate(arena, DType.FLOAT32, 2, 5, 4, 16);
      Tensor k = Tensor.allocate(arena, DType.FLOAT32, 2, 9, 2, 16);
      Tensor v = Tensor.allocate(arena, DType.FLOAT32, 2, 9, 2, 24);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 2, 5, 4, 24);
      Attention plain = runtime.attention(AttentionSpec.standard());
      Attention causal =
          runtime.attention(
              AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).maxThreads(2).build());
      plain.forward(q, k, v, out); // before the recording
      long begin = System.nanoTime();
      List<RecordedEvent> events =
          record(
              () -> {
                plain.forward(q, k, v, out);
                causal.forward(q, k, v, out);
                plain.forward(q.slice(1, 0, 1), k, v, out.slice(1, 0, 1));
                // A call that is refused is none.
                assertThrows(
                    IllegalArgumentException.class, () -> plain.forward(q, k, v, v.slice(1, 0, 5)));
                assertThrows(IllegalArgumentException.class, () -> plain.forward(q, k, k, q));
              });
      long elapsed = System.nanoTime() - begin;
      plain.forward(q, k, v, out); // after it

      assertEquals(3, events.size(), events.toString());
      for (RecordedEvent event : events) {
        assertEquals(ATTENTION, event.getEventType().getName());
        assertEquals(2, event.getLong("batch"));
        assertEquals(4, event.getLong("heads"));
        assertEquals(2, event.getLong("kvHeads"));
        assertEquals(9, event.getLong("seqK"));
        assertEquals(16, event.getInt("headDim"));
        assertEquals(24, event.getInt("headDimV"));
        assertFalse(event.getBoolean("ragged"));
        long nanos = event.getDuration().toNanos();
        assertTrue(nanos > 0 && nanos < elapsed, nanos + " ns");
        assertEquals(Thread.currentThread().getName(), event.getThread().getJavaName());
        assertNull(event.getStackTrace());
      }
      assertEquals(List.of(5L, 5L, 1L), events.stream().map(e -> e.getLong("seqQ")).toList());
      assertEquals(
          List.of(
              "attention_f32_" + runtime.tier(),
              "attention_f32_" + runtime.tier(),
              "attention_decode_f32_" + runtime.tier()),
          events.stream().map(e -> e.getString("kernel")).toList());
      assertEquals(List.of(1, 1, 1), events.stream().map(e -> e.getInt("threads")).toList());
      assertEquals(
          List.of("NONE", "BOTTOM_RIGHT", "NONE"),
          events.stream().map(e -> e.getString("causal")).toList());
    }
  }

  /** Those that find work: of a small call, above, the caller alone. */
  @Test
  void threads() throws IOException {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(3).build();
        Arena arena = Arena.ofConfined()) {
      Tensor q = Tensor.allocate(arena, DType.FLOAT32, 1, 512, 4, 64);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 512, 4, 64);
      Attention all = runtime.attention(AttentionSpec.standard());
      Attention two = runtime.attention(AttentionSpec.builder().maxThreads(2).build());
      List<RecordedEvent> events =
          record(
              () -> {
                all.forward(q, q, q, out);
                two.forward(q, q, q, out);
              });
      assertEquals(List.of(3, 2), events.stream().map(e -> e.getInt("threads")).toList());
    }
  }

  /** Few keys and values whose columns fill vectors: a kernel of its own where there is one. */
  @Test
  void tinyHeads() throws IOException {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
        Arena arena = Arena.ofConfined()) {
      Tensor q = Tensor.allocate(arena, DType.FLOAT32, 1, 5, 2, 32);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 5, 2, 32);
      Attention attention = runtime.attention(AttentionSpec.standard());
      List<RecordedEvent> events = record(() -> attention.forward(q, q, q, out));
      String kernel = runtime.tier() == Tier.AVX512 ? "attention_tiny_f32_" : "attention_f32_";
      assertEquals(
          List.of(kernel + runtime.tier()),
          events.stream().map(event -> event.getString("kernel")).toList());
    }
  }

  @Test
  void layersHaveEventsAndCount() throws IOException {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
        Arena arena = Arena.ofConfined()) {
      Tensor weight = Tensor.allocate(arena, DType.FLOAT32, 16, 16);
      Tensor x = Tensor.allocate(arena, DType.FLOAT32, 1, 7, 16);
      MultiHeadAttention layer =
          MultiHeadAttention.builder(runtime, 2)
              .query(weight, null)
              .key(weight, null)
              .value(weight, null)
              .output(weight, null)
              .build();
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 7, 16);
      List<RecordedEvent> events = record(() -> layer.forward(x, out));
      assertEquals(1, events.size(), events.toString());
      RecordedEvent event = events.getFirst();
      assertEquals(ATTENTION, event.getEventType().getName());
      assertEquals(7, event.getLong("seqQ"));
      assertEquals(7, event.getLong("seqK"));
      assertEquals(2, event.getLong("kvHeads"));
      assertEquals(8, event.getInt("headDimV"));
      assertEquals(1, event.getInt("threads"));
      assertEquals("attention_f32_" + runtime.tier(), event.getString("kernel"));

      assertFalse(event.getBoolean("ragged"));

      assertEquals(5, runtime.counters().calls(), "three projections, attention, output");
      new Linear(runtime, weight, null, Activation.RELU).forward(x, out);
      assertEquals(6, runtime.counters().calls());
      Tensor gamma = Tensor.allocate(arena, DType.FLOAT32, 16);
      new LayerNorm(runtime, gamma, null, 1e-5f).forward(x, out);
      assertEquals(7, runtime.counters().calls());
      assertTrue(runtime.counters().tasks() >= 7);

      Sequences ragged = Sequences.ragged(Tensor.copyOf(arena, new int[] {0, 5, 7}, 3));
      List<RecordedEvent> some =
          record(() -> layer.forward(x.reshape(7, 16), ragged, out.reshape(7, 16)));
      assertEquals(1, some.size(), some.toString());
      assertTrue(some.getFirst().getBoolean("ragged"));
      assertEquals(2, some.getFirst().getLong("batch"));
      assertEquals(5, some.getFirst().getLong("seqQ"));
      assertEquals(5, some.getFirst().getLong("seqK"));
    }
  }

  @Test
  void modelCalls() throws IOException {
    ModelEvent.finish(ModelEvent.start(), "nobody records", 1, 1);
    List<RecordedEvent> events =
        record(
            () -> {
              ModelEvent event = ModelEvent.start();
              ModelEvent.finish(event, "minilm", 3, 41);
            });
    assertEquals(1, events.size(), events.toString());
    RecordedEvent event = events.getFirst();
    assertEquals(MODEL, event.getEventType().getName());
    assertEquals("minilm", event.getString("model"));
    assertEquals(3, event.getInt("sequences"));
    assertEquals(41, event.getLong("tokens"));
    assertTrue(event.getDuration().toNanos() >= 0);
  }

  @Test
  void settingsOfARecordingAreObeyed() throws IOException {
    try (Recording recording = new Recording()) {
      recording.disable(ATTENTION);
      recording.start();
      assertNull(AttentionEvent.start());
    }
    try (Recording recording = new Recording()) {
      recording.enable(MODEL).withThreshold(Duration.ofHours(1));
      recording.start();
      ModelEvent.finish(ModelEvent.start(), "too short", 1, 1);
      recording.stop();
      Path file = folder.resolve("threshold.jfr");
      recording.dump(file);
      assertEquals(
          0,
          RecordingFile.readAllEvents(file).stream()
              .filter(event -> event.getEventType().getName().equals(MODEL))
              .count());
    }
  }

  /** GarbageTest counts in a JVM that never recorded; here the recording is over. */
  @Test
  void afterARecordingCallsMakeNoGarbage() throws IOException {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(1).build();
        Arena arena = Arena.ofConfined()) {
      Tensor q = Tensor.allocate(arena, DType.FLOAT32, 1, 3, 4, 8);
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 3, 4, 8);
      Attention attention = runtime.attention(AttentionSpec.standard());
      record(() -> attention.forward(q, q, q, out));
      assertNull(AttentionEvent.start());
      assertNull(ModelEvent.start());
      for (int n = 0; n < 50_000; n++) {
        attention.forward(q, q, q, out);
      }
      ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
      long least = Long.MAX_VALUE;
      for (int round = 0; round < 5; round++) {
        threads.getCurrentThreadAllocatedBytes();
        long before = threads.getCurrentThreadAllocatedBytes();
        for (int n = 0; n < 10_000; n++) {
          attention.forward(q, q, q, out);
        }
        least = Math.min(least, threads.getCurrentThreadAllocatedBytes() - before);
      }
      assertTrue(least < 100, least + " bytes in 10,000 calls");
    }
  }
}

package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.Activation;
import dev.gatun.Tensor;
import dev.gatun.internal.ModelEvent;
import dev.gatun.nn.BeamSearch;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.DecoderState;
import dev.gatun.nn.FeedForward;
import dev.gatun.nn.Generator;
import dev.gatun.nn.LayerNorm;
import dev.gatun.nn.MultiHeadAttention;
import dev.gatun.nn.Padded;
import dev.gatun.nn.Sampling;
import dev.gatun.nn.TableTransformer;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.Transformer;
import dev.gatun.support.Recordings;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import jdk.jfr.consumer.RecordedEvent;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Every model tells Flight Recorder of each call that went well: name, sequences and tokens. */
class ModelEventsTest {

  private final Arena arena = Arena.ofShared();
  private final SmallModels models = new SmallModels(arena);

  @TempDir Path folder;

  @AfterEach
  void close() {
    arena.close();
  }

  private List<String> record(Runnable calls) throws IOException {
    List<RecordedEvent> events = Recordings.of(folder, calls);
    assertNull(ModelEvent.start());
    return events.stream()
        .filter(event -> event.getEventType().getName().equals("dev.gatun.Model"))
        .map(
            event ->
                "%s %d %d"
                    .formatted(
                        event.getString("model"),
                        event.getInt("sequences"),
                        event.getLong("tokens")))
        .toList();
  }

  @Test
  void encoders() throws IOException {
    TextEncoder bert = models.bert(models.bert());
    TextEncoder distilBert = models.distilBert(models.distilBert());
    TextEncoder modernBert = models.modernBert(models.modernBert());
    Vit vit = models.vit(models.vit());
    Clip clip = models.clip(models.clip());
    Tensor ids = models.ids(2, 5);
    Tensor lengths = Tensor.copyOf(arena, new int[] {5, 3}, 2);
    Tensor images = models.draw(3, 3, 8, 8);
    assertEquals(
        List.of(
            "Bert 2 10",
            "Bert 2 8",
            "DistilBert 2 8",
            "ModernBert 2 8",
            "Vit 3 15",
            "Clip.texts 2 10",
            "Clip.images 3 15"),
        record(
            () -> {
              bert.forward(null, ids, null, models.zeros(2, 5, 16));
              bert.forward(null, ids, Padded.by(lengths), models.zeros(2, 5, 16));
              distilBert.forward(null, ids, Padded.by(lengths), models.zeros(2, 5, 16));
              modernBert.forward(null, ids, Padded.by(lengths), models.zeros(2, 5, 16));
              vit.forward(images, models.zeros(3, 7));
              clip.texts(ids, new int[] {4, 2}, models.zeros(2, 6));
              clip.images(images, models.zeros(3, 6));
              // A call that is refused is none.
              assertThrows(
                  IllegalArgumentException.class, () -> vit.forward(images, models.zeros(3, 8)));
              assertThrows(
                  IllegalArgumentException.class,
                  () -> bert.forward(null, ids, null, models.zeros(2, 4, 16)));
            }));
  }

  @Test
  void decoders() throws IOException {
    DecoderOnlyModel llama = models.llama(models.llama());
    DecoderOnlyModel gpt2 = models.gpt2(models.gpt2());
    Transformer t5 = models.t5(models.t5());
    DecoderState first = llama.newState(arena, 2, 8);
    DecoderState second = gpt2.newState(arena, 1, 8);
    DecoderState third = t5.newState(arena, 1, 8, 6);
    Tensor lengths = Tensor.copyOf(arena, new int[] {4, 1}, 2);
    Tensor memory = models.zeros(1, 6, 16);
    assertEquals(
        List.of("Llama 2 5", "Llama 2 6", "Gpt2 1 2", "Gpt2 1 1", "Gpt2 1 1", "T5 1 6", "T5 1 3"),
        record(
            () -> {
              llama.next(null, first, models.ids(2, 4), Padded.by(lengths), models.zeros(2, 11));
              llama.forward(null, first, models.ids(2, 3), null, models.zeros(2, 3, 11));
              new Generator(gpt2, second, null, arena)
                  .generate(models.ids(1, 2), 2, -1, Sampling.greedy());
              t5.encode(null, models.ids(1, 6), null, memory);
              t5.remember(null, third, memory, null);
              t5.next(null, third, models.ids(1, 3), null, models.zeros(1, 11));
            }));
    DecoderState beams = gpt2.newState(arena, 2, 8);
    assertEquals(
        List.of("Gpt2 2 4", "Gpt2 2 2"),
        record(() -> new BeamSearch(gpt2, beams, null, arena, 0).search(models.ids(1, 2), 2, -1)));
    DecoderOnlyModel mistral = models.mistral(models.llama());
    DecoderOnlyModel gemma2 = models.gemma2(models.gemma2());
    DecoderState fourth = mistral.newState(arena, 1, 8);
    DecoderState fifth = gemma2.newState(arena, 2, 8);
    assertEquals(
        List.of("Mistral 1 4", "Gemma2 2 8"),
        record(
            () -> {
              mistral.next(null, fourth, models.ids(1, 4), null, models.zeros(1, 11));
              gemma2.next(null, fifth, models.ids(2, 4), null, models.zeros(2, 11));
            }));
    assertEquals("Llama", llama.name());
    assertEquals("T5", t5.name());
  }

  @Test
  void modelsPutTogetherByHand() throws IOException {
    DecoderOnlyModel llama = models.llama(models.llama());
    Tensor weight = models.draw(16, 16);
    MultiHeadAttention attention =
        MultiHeadAttention.builder(models.runtime, 2)
            .query(weight, null)
            .key(weight, null)
            .value(weight, null)
            .output(weight, null)
            .build();
    LayerNorm norm = new LayerNorm(models.runtime, models.draw(16), null, 1e-5f);
    FeedForward network =
        new FeedForward(models.runtime, weight, null, Activation.RELU, weight, null);
    TableTransformer table =
        new TableTransformer(
            models.runtime,
            List.of(new TableTransformer.Layer(attention, norm, attention, norm, network, norm)));
    assertEquals(
        List.of("TableTransformer 3 12"),
        record(() -> table.forward(null, models.draw(3, 4, 16), 2, models.zeros(3, 4, 16))));
    assertEquals("Llama", llama.name());
  }
}

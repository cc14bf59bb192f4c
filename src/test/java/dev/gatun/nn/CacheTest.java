package dev.gatun.nn;

import static dev.gatun.nn.Layers.SEED;
import static dev.gatun.nn.Layers.closed;
import static dev.gatun.nn.Layers.refused;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.support.Run;
import java.lang.foreign.Arena;
import java.util.AbstractList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** A cache that somebody else has written: what it gives is checked, once, and kept. */
class CacheTest {

  private static final int SEQUENCES = 2;
  private static final int CAPACITY = 6;
  private static final int DIM = 16;

  private final Arena arena = Arena.ofShared();
  private final Parts parts = new Parts(arena, SEED);
  private final TransformerDecoder decoder = parts.decoder(DIM, false);

  @AfterEach
  void close() {
    arena.close();
  }

  /** Two heads of 8, two layers. */
  private class Own implements KeyValueCache {
    final Tensor[] tensors = new Tensor[4];
    int asked;
    int[] moved;

    Own() {
      for (int n = 0; n < 4; n++) {
        tensors[n] = parts.zeros(SEQUENCES, CAPACITY, 2, 8);
      }
    }

    @Override
    public int layers() {
      return 2;
    }

    @Override
    public int sequences() {
      return SEQUENCES;
    }

    @Override
    public int capacity() {
      return CAPACITY;
    }

    @Override
    public Tensor keys(int layer) {
      asked++;
      return tensors[layer];
    }

    @Override
    public Tensor values(int layer) {
      asked++;
      return tensors[2 + layer];
    }

    @Override
    public void select(int[] sources, int tokens) {
      moved = sources.clone();
      Arrays.fill(sources, 77); // it may write what it is given
      for (Tensor tensor : tensors) {
        float[] before = tensor.toFloatArray();
        Tensor old = Tensor.copyOf(arena, before, tensor.shape());
        for (int n = 0; n < moved.length; n++) {
          tensor.select(0, n).copyFrom(old.select(0, moved[n]));
        }
      }
    }
  }

  private void misfit(String start, int place, Tensor tensor) {
    Own cache = new Own();
    cache.tensors[place] = tensor;
    refused(start, () -> decoder.newState(arena, cache, 0));
  }

  @Test
  void tensorsThatDoNotFit() {
    String shape = "expected [2, 6, 2, 8] float32, heads without gaps, got ";
    misfit("cache.keys(1): " + shape + "null", 1, null);
    misfit("cache.values(0): " + shape, 2, parts.zeros(2, 5, 2, 8));
    misfit("cache.values(0): " + shape, 2, parts.zeros(1, 6, 2, 8));
    misfit("cache.values(1): " + shape, 3, parts.zeros(2, 6, 16));
    misfit(
        "cache.keys(0): " + shape + "[2, 6, 2, 8] int32",
        0,
        Tensor.allocate(arena, DType.INT32, 2, 6, 2, 8));
    misfit("cache.keys(0): " + shape, 0, parts.zeros(2, 6, 8, 2).transpose(2, 3));
    misfit("cache.keys(0): " + shape, 0, parts.zeros(2, 6, 2, 9).slice(3, 0, 8));
    misfit(
        "cache.keys(0): expected memory that can be written",
        0,
        parts.zeros(2, 6, 2, 8).asReadOnly());
    long[] sizes = {2, 6, 2, 8};
    Tensor slab = parts.zeros(1000);
    misfit(
        "cache.keys(0): expected tokens at least 16 elements apart, got 8",
        0,
        Tensor.ofStrided(slab.segment(), DType.FLOAT32, sizes, new long[] {96, 8, 8, 1}));
    // Sequences one over the other, or partly so.
    for (long step : new long[] {0, 16, 80}) {
      misfit(
          "cache.keys(0): expected memory of its own, got memory shared with cache.keys(0)",
          0,
          Tensor.ofStrided(slab.segment(), DType.FLOAT32, sizes, new long[] {step, 16, 8, 1}));
    }
    Tensor gone;
    try (Arena closed = Arena.ofShared()) {
      gone = Tensor.allocate(closed, DType.FLOAT32, 2, 6, 2, 8);
    }
    Own cache = new Own();
    cache.tensors[3] = gone;
    closed(() -> decoder.newState(arena, cache, 0));
  }

  @Test
  void sharedMemory() {
    Own cache = new Own();
    cache.tensors[3] = cache.tensors[0];
    refused("cache.", () -> decoder.newState(arena, cache, 0));
    // The last element of one is the first of another.
    Tensor slab = parts.zeros(2 * 192 - 1);
    cache.tensors[0] = slab.slice(0, 0, 192).reshape(2, 6, 2, 8);
    cache.tensors[3] = slab.slice(0, 191, 383).reshape(2, 6, 2, 8);
    refused(
        "cache.keys(0): expected memory of its own, got memory shared with cache.values(1)",
        () -> decoder.newState(arena, cache, 0));
    // Memory of a weight.
    Tensor weight = parts.matrix(16, 16);
    MultiHeadAttention attention =
        MultiHeadAttention.builder(parts.runtime, 2)
            .spec(dev.gatun.AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).build())
            .query(weight, null)
            .key(weight, null)
            .value(weight, null)
            .output(parts.matrix(16, 16), null)
            .build();
    TransformerDecoder one =
        new TransformerDecoder(
            parts.runtime,
            List.of(
                new TransformerLayer(
                    attention, parts.norm(16), parts.feedForward(16, 16), parts.norm(16))),
            NormOrder.PRE,
            null);
    KeyValueCache over =
        new GivenCache(weight.slice(0, 0, 4).reshape(1, 4, 2, 8), parts.zeros(1, 4, 2, 8));
    refused(
        "cache.keys(0): expected memory of its own, got memory shared with"
            + " layers[0].selfAttention.",
        () -> one.newState(arena, over, 0));
  }

  /** Tensors of all layers in one, interleaved token by token, share nothing. */
  @Test
  void interleavedTensorsAreTwoApart() {
    Own cache = new Own();
    Tensor slab = parts.zeros(SEQUENCES, CAPACITY, 4, 2, 8);
    for (int n = 0; n < 4; n++) {
      cache.tensors[n] = slab.select(2, n);
    }
    Run.checkSameBits(steps(new Own()), steps(cache), "interleaved");
    Tensor turned = parts.zeros(CAPACITY, 4, SEQUENCES, 2, 8);
    for (int n = 0; n < 4; n++) {
      cache.tensors[n] = turned.select(1, n).transpose(0, 1);
    }
    Run.checkSameBits(steps(new Own()), steps(cache), "tokens outermost");
  }

  private float[] steps(KeyValueCache cache) {
    DecoderState state = decoder.newState(arena, cache, 0);
    Tensor x = Tensor.allocate(arena, DType.FLOAT32, SEQUENCES, 2, DIM);
    for (int i = 0; i < 2 * DIM * SEQUENCES; i++) {
      x.reshape(2 * DIM * SEQUENCES).setFloat((float) Math.sin(i), i);
    }
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, SEQUENCES, 2, DIM);
    decoder.step(null, state, x, null, out);
    state.select(1, 1);
    assertEquals(2, state.length(0));
    decoder.step(null, state, x, null, out);
    return out.toFloatArray();
  }

  /** Smaller tensors later would be read and written beyond their ends. */
  @Test
  void whatIsGivenLaterIsNotUsed() {
    float[] want = steps(new Own());
    Own cache = new Own();
    DecoderState state = decoder.newState(arena, cache, 0);
    assertEquals(4, cache.asked, "each once");
    Tensor[] first = cache.tensors.clone();
    for (int n = 0; n < 4; n++) {
      cache.tensors[n] = Tensor.allocate(arena, DType.FLOAT32, 1, 1, 1, 1);
    }
    Tensor x = Tensor.allocate(arena, DType.FLOAT32, SEQUENCES, 2, DIM);
    for (int i = 0; i < 2 * DIM * SEQUENCES; i++) {
      x.reshape(2 * DIM * SEQUENCES).setFloat((float) Math.sin(i), i);
    }
    Tensor out = Tensor.allocate(arena, DType.FLOAT32, SEQUENCES, 2, DIM);
    decoder.step(null, state, x, null, out);
    assertEquals(4, cache.asked);
    System.arraycopy(first, 0, cache.tensors, 0, 4);
    state.select(1, 1);
    assertArrayEquals(new int[] {1, 1}, cache.moved);
    decoder.step(null, state, x, null, out);
    Run.checkSameBits(want, out.toFloatArray(), "the tensors of the beginning");
  }

  /** Lengths come from sources that were checked before the cache saw them. */
  @Test
  void sourcesAreChecked() {
    Own cache = new Own();
    DecoderState state = decoder.newState(arena, cache, 0);
    refused("sources: expected 2 of them, got 1", () -> state.select(0));
    refused("sources: expected 2 of them, got 3", () -> state.select(0, 1, 1));
    refused("sources[1]: expected 0 .. 1, got 2", () -> state.select(0, 2));
    refused("sources[0]: expected 0 .. 1, got -1", () -> state.select(-1, 0));
    assertEquals(null, cache.moved, "nothing was asked of the cache");
    int[] mine = {1, 0};
    state.select(mine);
    assertArrayEquals(new int[] {1, 0}, mine, "the caller's own are not the cache's to write");
  }

  @Test
  void sizesThatDoNotFit() {
    for (int[] bad : new int[][] {{0, 6}, {2, 0}, {-1, 6}, {2, -6}}) {
      Own cache =
          new Own() {
            @Override
            public int sequences() {
              return bad[0];
            }

            @Override
            public int capacity() {
              return bad[1];
            }
          };
      refused("cache: expected 1 or more sequences", () -> decoder.newState(arena, cache, 0));
    }
  }

  /** A list that gives another layer when it is asked again is asked once. */
  @Test
  void layersAreAskedForOnce() {
    TransformerLayer open = parts.layer(Causal.NONE, DIM, false);
    TransformerLayer masked = parts.layer(Causal.BOTTOM_RIGHT, DIM, false);
    List<TransformerLayer> odd =
        new AbstractList<>() {
          @Override
          public TransformerLayer get(int index) {
            return masked;
          }

          @Override
          public int size() {
            return 1;
          }

          @Override
          public <T> T[] toArray(T[] array) {
            return List.of(open).toArray(array);
          }

          @Override
          public Object[] toArray() {
            return new Object[] {open};
          }
        };
    refused(
        "layers[0].selfAttention: expected causal BOTTOM_RIGHT, got NONE",
        () -> new TransformerDecoder(parts.runtime, odd, NormOrder.PRE, null));
  }
}

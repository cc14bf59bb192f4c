package dev.gatun.nn;

import dev.gatun.Attention;
import dev.gatun.AttentionOptions;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Calls whose lengths or ids another thread keeps changing, for {@link
 * dev.gatun.support.ChildMain}. They may be refused, and compute anything, but the JVM stays; and
 * when nobody writes any more, they compute what they did before.
 */
public final class RaceCalls {

  private static final int[] HOSTILE = {
    -1, Integer.MIN_VALUE, Integer.MAX_VALUE, 1 << 24, 100_000, 1 << 15, -70_000, 0
  };

  /** A call, the numbers that it is given (int32 without gaps), and what it writes. */
  private record Race(Runnable call, Tensor numbers, Tensor out) {}

  private final Arena arena;
  private final Parts parts;
  private final MethodHandle mmap;

  private RaceCalls(Arena arena) {
    this.arena = arena;
    parts = new Parts(arena, 1);
    SymbolLookup standard = Linker.nativeLinker().defaultLookup();
    ValueLayout.OfLong word = ValueLayout.JAVA_LONG;
    ValueLayout.OfInt number = ValueLayout.JAVA_INT;
    FunctionDescriptor type = FunctionDescriptor.of(word, word, word, number, number, number, word);
    mmap = Linker.nativeLinker().downcallHandle(standard.findOrThrow("mmap"), type);
  }

  /** Which there are. */
  public static List<String> names() {
    return List.of(
        "keyLengths",
        "queryLengths",
        "copied keys",
        "keys in parts",
        "biased",
        "embedding",
        "multi-head",
        "encoder",
        "gated",
        "decoder lengths",
        "decoder ids",
        "memory lengths");
  }

  /** Runs one of them for a while. */
  public static void run(String name, double seconds) throws InterruptedException {
    try (Arena arena = Arena.ofShared()) {
      RaceCalls calls = new RaceCalls(arena);
      calls.run(calls.race(name), seconds);
    }
  }

  private void run(Race race, double seconds) throws InterruptedException {
    int[] valid = race.numbers.segment().toArray(ValueLayout.JAVA_INT);
    race.call.run();
    float[] before = race.out.toFloatArray();
    AtomicBoolean over = new AtomicBoolean();
    Thread writer = new Thread(() -> write(race.numbers.segment(), valid, over));
    writer.start();
    long begin = System.nanoTime();
    int calls = 0;
    int refused = 0;
    try {
      // On a busy machine the threads take turns for long: until the race has gone both ways.
      for (; goesOn(begin, refused > 0 && refused < calls ? seconds : 40 * seconds); calls++) {
        try {
          race.call.run();
        } catch (IllegalArgumentException e) {
          refused++;
        }
      }
    } finally {
      over.set(true);
      writer.join();
    }
    if (refused == 0 || refused == calls) {
      throw new AssertionError("%d of %d calls were refused".formatted(refused, calls));
    }
    race.call.run();
    if (!Arrays.equals(before, race.out.toFloatArray())) {
      throw new AssertionError("another result than before the race");
    }
  }

  private static boolean goesOn(long begin, double seconds) {
    return System.nanoTime() - begin < seconds * 1e9;
  }

  /** Hostile numbers in one place after the other, and the right ones in between. */
  private static void write(MemorySegment numbers, int[] valid, AtomicBoolean over) {
    Random random = new Random(7);
    while (!over.get()) {
      int at = random.nextInt(valid.length);
      numbers.setAtIndex(ValueLayout.JAVA_INT, at, HOSTILE[random.nextInt(HOSTILE.length)]);
      for (int n = random.nextInt(100); n > 0; n--) {
        Thread.onSpinWait();
      }
      numbers.setAtIndex(ValueLayout.JAVA_INT, at, valid[at]);
      for (int n = random.nextInt(1000); n > 0; n--) {
        Thread.onSpinWait();
      }
    }
    for (int n = 0; n < valid.length; n++) {
      numbers.setAtIndex(ValueLayout.JAVA_INT, n, valid[n]);
    }
  }

  // ---- memory --------------------------------------------------------------------------------

  /** A tensor that ends where nothing can be read or written for 1 MiB. */
  private Tensor guarded(float value, long... shape) {
    long bytes = Float.BYTES;
    for (long size : shape) {
      bytes *= size;
    }
    long page = 4096;
    long used = (bytes + page - 1) / page * page;
    long guard = 1 << 20;
    int anonymous = 0x22; // MAP_PRIVATE | MAP_ANONYMOUS
    try {
      long address = (long) mmap.invokeExact(0L, used + guard, 0, anonymous, -1, 0L);
      int fixed = 0x10;
      long usable = (long) mmap.invokeExact(address, used, 3, anonymous | fixed, -1, 0L);
      if (address == -1 || usable != address) {
        throw new AssertionError("mmap failed");
      }
      MemorySegment memory = MemorySegment.ofAddress(address).reinterpret(used);
      Tensor tensor = Tensor.of(memory.asSlice(used - bytes, bytes), DType.FLOAT32, shape);
      tensor.fill(value);
      return tensor;
    } catch (Throwable e) {
      throw new AssertionError(e);
    }
  }

  /** The same with values of size 1. */
  private Tensor normal(long... shape) {
    Tensor tensor = guarded(0, shape);
    tensor.copyFrom(parts.normal(shape));
    return tensor;
  }

  private Tensor numbers(int count, int value) {
    int[] numbers = new int[count];
    Arrays.fill(numbers, value);
    return Tensor.copyOf(arena, numbers, count);
  }

  // ---- calls ---------------------------------------------------------------------------------

  private Race race(String name) {
    int dim = 16;
    int batch = 64;
    AttentionSpec causal = AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).build();
    return switch (name) {
      case "keyLengths" -> attention(AttentionSpec.standard(), batch, 8, 40, 2, true);
      case "queryLengths" -> attention(causal, batch, 40, 40, 2, false);
      case "copied keys" -> attention(AttentionSpec.standard(), 2, 512, 256, 16, true);
      case "keys in parts" -> attention(AttentionSpec.standard(), 2, 1, 8192, 1, true);
      case "biased" -> {
        AttentionSpec spec =
            AttentionSpec.builder()
                .causal(Causal.BOTTOM_RIGHT)
                .alibiSlopes(PositionalEncoding.alibi(arena, 2).slopes())
                .build();
        yield attention(spec, batch, 40, 40, 2, true);
      }
      case "embedding" -> {
        Tensor ids = Tensor.copyOf(arena, new int[2048], 1, 2048);
        Tensor out = guarded(0, 1, 2048, dim);
        Embedding embedding =
            new Embedding(parts.runtime, normal(50, dim), 1, PositionalEncoding.none());
        yield new Race(() -> embedding.forward(null, ids, null, out), ids.reshape(2048), out);
      }
      case "multi-head" -> {
        Tensor x = normal(batch, 16, dim);
        Tensor out = guarded(0, batch, 16, dim);
        Tensor lengths = numbers(batch, 16);
        MultiHeadAttention attention = parts.attention(Causal.BOTTOM_RIGHT, dim);
        yield new Race(
            () -> attention.forward(null, x, Padded.by(lengths), x, Padded.by(lengths), out),
            lengths,
            out);
      }
      case "encoder" -> {
        Tensor x = normal(batch, 16, dim);
        Tensor out = guarded(0, batch, 16, dim);
        Tensor lengths = numbers(batch, 16);
        TransformerEncoder encoder = parts.encoder(dim);
        yield new Race(() -> encoder.forward(null, x, Padded.by(lengths), out), lengths, out);
      }
      case "gated" -> {
        Tensor x = normal(batch, 16, dim);
        Tensor out = guarded(0, batch, 16, dim);
        Tensor lengths = numbers(batch, 16);
        GatedCrossAttention gated =
            new GatedCrossAttention(
                parts.runtime,
                parts.attention(Causal.NONE, dim),
                parts.norm(dim),
                parts.feedForward(dim, dim),
                parts.norm(dim));
        yield new Race(
            () -> gated.forward(null, x, null, x, Padded.by(lengths), out), lengths, out);
      }
      case "decoder lengths" -> {
        Tensor ids = Tensor.copyOf(arena, new int[batch * 8], batch, 8);
        Tensor lengths = numbers(batch, 8);
        yield decoder(ids, lengths, lengths);
      }
      case "decoder ids" -> {
        Tensor ids = Tensor.copyOf(arena, new int[batch * 8], batch, 8);
        yield decoder(ids, null, ids.reshape(batch * 8L));
      }
      case "memory lengths" -> {
        Transformer model = parts.translator(50);
        DecoderState state = model.newState(arena, batch, 2, 16);
        Tensor memory = normal(batch, 16, dim);
        Tensor lengths = numbers(batch, 16);
        Tensor ids = Tensor.copyOf(arena, new int[batch], batch, 1);
        Tensor logits = guarded(0, batch, 50);
        Runnable call =
            () -> {
              model.remember(null, state, memory, Padded.by(lengths));
              model.next(null, state, ids, null, logits);
            };
        yield new Race(call, lengths, logits);
      }
      default -> throw new IllegalArgumentException(name);
    };
  }

  private Race attention(
      AttentionSpec spec, int batch, int rows, int keys, int heads, boolean keyLengths) {
    Tensor q = normal(batch, rows, heads, 64);
    Tensor k = normal(batch, keys, heads, 64);
    Tensor v = normal(batch, keys, heads, 64);
    Tensor out = guarded(0, batch, rows, heads, 64);
    Tensor lengths = numbers(batch, keyLengths ? keys : rows);
    Attention attention = parts.runtime.attention(spec);
    AttentionOptions options =
        keyLengths
            ? new AttentionOptions().keyLengths(lengths)
            : new AttentionOptions().queryLengths(lengths);
    return new Race(() -> attention.forward(q, k, v, out, options), lengths, out);
  }

  private Race decoder(Tensor ids, Tensor lengths, Tensor raced) {
    DecoderOnlyModel model = parts.model(50);
    DecoderState state = model.newState(arena, (int) ids.size(0), 8, 0);
    Tensor logits = guarded(0, ids.size(0), 50);
    Runnable call =
        () -> {
          state.reset();
          model.next(null, state, ids, Padded.by(lengths), logits);
        };
    return new Race(call, raced, logits);
  }
}

package dev.gatun.nn;

import dev.gatun.Activation;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.Workspace;
import dev.gatun.internal.CellOps.Cell;
import dev.gatun.internal.LayerCall;
import dev.gatun.internal.LayerCalls;
import dev.gatun.internal.Matrix;
import dev.gatun.internal.PoolRule;
import dev.gatun.internal.Scratch;
import dev.gatun.internal.SequenceRows;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.lang.foreign.ValueLayout;
import java.util.Objects;

/**
 * The decoder of Bahdanau, Cho and Bengio 2015 (appendix A.1.2 and A.2.2), the first with soft
 * attention: a gated recurrent unit that looks at the whole source before each word. For the
 * embedding y of the word before, the state s before and the annotations h_j of the source,
 *
 * <pre>
 *   α_j = softmax_j(vᵀ tanh(W_a s + U_a h_j))         c = Σ_j α_j h_j
 *   s'  = the unit of {@link GruLayer.Reset#BEFORE_PRODUCT} from s, for the input [y; c]
 *   t   = the maxima of pairs of U_o s + V_o y + C_o c
 * </pre>
 *
 * with s = tanh(W_s h) of the backward half of the first annotation at the beginning. x is y, out
 * is t. U_a h_j is computed once for a source, by {@link #remember}.
 *
 * <p>Each row waits for the one before, in a pass of many rows as well. Sequences of a call take
 * their steps together; attention runs one sequence after the other.
 */
public final class AttentiveGruDecoder extends SequenceDecoder {

  private final Linear initial;
  private final Linear query;
  private final Linear key;
  private final Tensor energyTensor;
  private final Matrix energy;
  private final RecurrentPass unit;
  private final Linear readout;
  private final long hidden;
  private final long annotation;
  private final long dim;
  private final Parameters parameters;

  /**
   * Makes a decoder of a unit with n elements for annotations of 2n, embeddings of m and readouts
   * of l. Layers may be packed.
   *
   * @param runtime where it runs
   * @param initial W_s: from n to n, without an activation
   * @param query W_a: from n to the size of the alignment model, n'
   * @param key U_a: from 2n to n'
   * @param energy {@code [n']} v_a, contiguous float32
   * @param unit of gates r, z, n whose input is [y; c]: weightIh {@code [3n, m + 2n]}, weightHh
   *     {@code [3n, n]}
   * @param readout of [s; y; c], columns U_o, V_o and C_o: from n + m + 2n to 2l
   * @throws IllegalArgumentException naming the argument that does not fit
   */
  public AttentiveGruDecoder(
      GatunRuntime runtime,
      Linear initial,
      Linear query,
      Linear key,
      Tensor energy,
      RecurrentWeights unit,
      Linear readout) {
    this(
        runtime,
        initial,
        query,
        key,
        energy,
        RecurrentPass.of(runtime, "unit.", Cell.GRU_UPDATE, Objects.requireNonNull(unit, "unit")),
        readout);
  }

  AttentiveGruDecoder(
      GatunRuntime runtime,
      Linear initial,
      Linear query,
      Linear key,
      Tensor energy,
      RecurrentPass unit,
      Linear readout) {
    super(runtime);
    this.initial = Objects.requireNonNull(initial, "initial");
    this.query = Objects.requireNonNull(query, "query");
    this.key = Objects.requireNonNull(key, "key");
    this.unit = unit;
    this.readout = Objects.requireNonNull(readout, "readout");
    this.hidden = unit.hidden();
    this.annotation = 2 * hidden;
    this.dim = unit.in() - annotation;
    if (dim < 1) {
      throw new IllegalArgumentException(
          "unit.weightIh: expected more than %d columns, annotations of twice the hidden size, got %d"
              .formatted(annotation, unit.in()));
    }
    Rows.same("initial.in", hidden, initial.in());
    Rows.same("initial.out", hidden, initial.out());
    Rows.same("query.in", hidden, query.in());
    Rows.same("key.in", annotation, key.in());
    Rows.same("key.out", query.out(), key.out());
    Rows.same("readout.in", hidden + dim + annotation, readout.in());
    if (readout.out() % 2 != 0) {
      throw new IllegalArgumentException(
          "readout.out: expected an even number, pairs of which maxima are taken, got "
              + readout.out());
    }
    Objects.requireNonNull(energy, "energy");
    this.energyTensor = energy;
    this.energy =
        Matrix.of(Rows.vector("energy", energy, query.out()), 1, query.out(), query.out());
    this.parameters =
        new Parameters.Builder()
            .add("initial", initial.parameters())
            .add("query", query.parameters())
            .add("key", key.parameters())
            .add("energy", energy)
            .addAll(unit.parameters())
            .add("readout", readout.parameters())
            .build();
  }

  /** {@return the size of an embedding, m} */
  @Override
  public long dim() {
    return dim;
  }

  /** {@return the size of a readout, l} */
  @Override
  public long outDim() {
    return readout.out() / 2;
  }

  /** {@return the size of a state, n} */
  public long hidden() {
    return hidden;
  }

  @Override
  public boolean hasMemory() {
    return true;
  }

  @Override
  public DecoderState newState(Arena arena, int sequences, int capacity, int memoryCapacity) {
    requirePositive("sequences", sequences);
    requirePositive("capacity", capacity);
    requirePositive("memoryCapacity", memoryCapacity);
    return new DecoderState(
        this, arena, new CachedTensors(layers(), sequences, capacity), memoryCapacity);
  }

  private static void requirePositive(String name, int number) {
    if (number < 1) {
      throw new IllegalArgumentException(name + ": expected 1 or more, got " + number);
    }
  }

  @Override
  public void remember(
      Workspace workspace, DecoderState state, Tensor memory, Sequences sequences) {
    checkState(state);
    state.acquire();
    try {
      computeMemory(workspace, state, memory, sequences);
    } finally {
      state.release();
    }
  }

  private void computeMemory(
      Workspace workspace, DecoderState state, Tensor memory, Sequences sequences) {
    Rows.checkTokens("memory", memory, annotation);
    state.refuseShared("memory", memory, sequences);
    try (LayerCall call = LayerCalls.begin(runtime, workspace)) {
      SequenceRows rows =
          Sequences.divide(
              call, sequences, "memory", memory, memory.rank() - 1, MemorySegment.NULL);
      state.checkMemory("memory", rows);
      for (long n = 0; n < rows.count(); n++) {
        if (rows.length(n) == 0) {
          throw new IllegalArgumentException(
              "memory: expected 1 row or more of sequence %d, got none".formatted(n));
        }
      }
      Matrix in = Sequences.gather(call, rows, Rows.view(call, "memory", memory));
      state.forgetMemory();
      in.copyRows(0, state.memoryValues(call.scratch(), 0, rows.rows()), 0, rows.rows());
      key.run(call, in, state.memoryKeys(call.scratch(), 0, rows.rows()));
      state.setMemory(call.scratch(), rows);
    }
  }

  @Override
  Parameters parameters() {
    return parameters;
  }

  /**
   * The same decoder with its matrices packed.
   *
   * @param memory gives the memory of the packed weights; biases and the energy stay where they are
   * @param format what the weights become; VIEW changes nothing
   * @return a new decoder
   * @throws IllegalArgumentException if weights are packed in another format already
   */
  public AttentiveGruDecoder packed(SegmentAllocator memory, WeightFormat format) {
    return new AttentiveGruDecoder(
        runtime,
        initial.packed(memory, format),
        query.packed(memory, format),
        key.packed(memory, format),
        energyTensor,
        unit.packed(memory, format),
        readout.packed(memory, format));
  }

  @Override
  int positions() {
    return Integer.MAX_VALUE;
  }

  @Override
  int layers() {
    return 1;
  }

  @Override
  long stateFloats(int layer) {
    return hidden;
  }

  @Override
  long memoryKeyColumns(int layer) {
    return key.out();
  }

  @Override
  long memoryValueColumns(int layer) {
    return annotation;
  }

  // ---- steps ---------------------------------------------------------------------------------

  @Override
  void compute(LayerCall call, DecoderState state, SequenceRows rows, Matrix x, Matrix out) {
    call.steps().runSoFar();
    Scratch scratch = call.scratch();
    long mark = scratch.mark();
    long count = rows.count();
    MemorySegment order = scratch.ints(count);
    MemorySegment running = RecurrentPass.running(scratch, rows, order);
    SequenceRows source = state.memoryRows(scratch);
    Matrix keys = state.memoryKeys(scratch, 0, state.memoryLength());
    Matrix values = state.memoryValues(scratch, 0, state.memoryLength());
    Matrix all = scratch.matrix(count, hidden + dim + annotation); // [s; y; c]
    all.part(0, 0, hidden);
    all.part(1, hidden, dim + annotation);
    all.part(2, hidden + dim, annotation);
    Matrix gates = scratch.matrix(count, unit.gates());
    gates.part(0, 0, 2 * hidden);
    gates.part(1, 2 * hidden, hidden);
    Matrix inputs = scratch.matrix(count, unit.gates());
    Matrix reset = scratch.matrix(count, hidden);
    Matrix queries = scratch.matrix(count, query.out());
    Matrix maxima = scratch.matrix(count, outDim());
    MemorySegment pairs = pairs(scratch, count * outDim());
    begin(call, state, order, source, values, all.part(0));
    for (long step = 0; step < rows.longest(); step++) {
      int some = running.getAtIndex(ValueLayout.JAVA_INT, step + 1);
      long inner = scratch.mark();
      for (long n = 0; n < some; n++) {
        long place = place(rows, order, n, step);
        x.copyRows(place, all.part(1), n, 1);
      }
      query.run(
          call,
          RecurrentPass.first(scratch, all.part(0), some),
          RecurrentPass.first(scratch, queries, some));
      for (long n = 0; n < some; n++) {
        long sequence = order.getAtIndex(ValueLayout.JAVA_INT, n);
        attend(call, source, sequence, queries, n, keys, values, all.part(2));
      }
      read(call, some, all, maxima, pairs);
      for (long n = 0; n < some; n++) {
        maxima.copyRows(n, out, place(rows, order, n, step), 1);
      }
      unit.project(
          call,
          RecurrentPass.first(scratch, all.part(1), some),
          RecurrentPass.first(scratch, inputs, some));
      call.steps().runSoFar();
      unit.step(call, some, inputs, MemorySegment.NULL, gates, all.part(0), null, reset, null);
      scratch.release(inner);
    }
    end(state, order, all);
    scratch.release(mark);
  }

  private static long place(SequenceRows rows, MemorySegment order, long n, long step) {
    long sequence = order.getAtIndex(ValueLayout.JAVA_INT, n);
    return rows.start(sequence) + step * rows.rowStep();
  }

  /** Where pairs of elements begin. */
  private static MemorySegment pairs(Scratch scratch, long count) {
    if (count > Integer.MAX_VALUE / 2) {
      throw new IllegalArgumentException(
          "sequences: expected less than 2^30 elements of readouts in all");
    }
    MemorySegment pairs = scratch.ints(count + 1);
    for (long n = 0; n <= count; n++) {
      pairs.setAtIndex(ValueLayout.JAVA_INT, n, (int) (2 * n));
    }
    return pairs;
  }

  /** The states before the step, of sequences without tokens what the source says (A.2.2). */
  private void begin(
      LayerCall call,
      DecoderState state,
      MemorySegment order,
      SequenceRows source,
      Matrix values,
      Matrix s) {
    Scratch scratch = call.scratch();
    long mark = scratch.mark();
    boolean some = false;
    Matrix first = scratch.matrix(s.rows(), hidden);
    Matrix begun = scratch.matrix(s.rows(), hidden);
    for (long n = 0; n < s.rows(); n++) {
      int sequence = order.getAtIndex(ValueLayout.JAVA_INT, n);
      copy(
          values.segment(),
          source.start(sequence) * annotation + hidden,
          first.segment(),
          n * hidden);
      some |= state.length(sequence) == 0;
    }
    if (some) {
      initial.run(call, first, begun);
      call.rows().softcap(1, begun, begun);
    }
    for (long n = 0; n < s.rows(); n++) {
      int sequence = order.getAtIndex(ValueLayout.JAVA_INT, n);
      if (state.length(sequence) == 0) {
        copy(begun.segment(), n * hidden, s.segment(), n * s.stride());
      } else {
        copy(state.sums(0), sequence * hidden, s.segment(), n * s.stride());
      }
    }
    scratch.release(mark);
  }

  private void end(DecoderState state, MemorySegment order, Matrix all) {
    for (long n = 0; n < all.rows(); n++) {
      long sequence = order.getAtIndex(ValueLayout.JAVA_INT, n);
      copy(all.segment(), n * all.stride(), state.sums(0), sequence * hidden);
    }
  }

  private void copy(MemorySegment from, long fromElement, MemorySegment to, long toElement) {
    MemorySegment.copy(
        from, fromElement * Float.BYTES, to, toElement * Float.BYTES, hidden * Float.BYTES);
  }

  /**
   * The context of one sequence (A.1.2). Its keys are copied, which the tanh that follows reads
   * from the cache.
   */
  private void attend(
      LayerCall call,
      SequenceRows source,
      long sequence,
      Matrix queries,
      long row,
      Matrix keys,
      Matrix values,
      Matrix contexts) {
    Scratch scratch = call.scratch();
    long mark = scratch.mark();
    long start = source.start(sequence);
    long length = source.length(sequence);
    Matrix q = scratch.matrix(1, query.out());
    queries.copyRows(row, q, 0, 1);
    Matrix bent = scratch.matrix(length, query.out());
    keys.copyRows(start, bent, 0, length);
    call.rows().biasedTanh(bent, q.segment(), bent);
    Matrix scores = scratch.matrix(1, length);
    Matrix columns = scratch.view(bent.segment(), query.out(), length, query.out());
    call.rows().linear(energy, columns, true, MemorySegment.NULL, Activation.NONE, scores);
    call.rows().softmax(false, scores, scores);
    Matrix some = scratch.matrix(length, annotation);
    values.copyRows(start, some, 0, length);
    Matrix context = scratch.matrix(1, annotation);
    call.rows().linear(scores, some, false, MemorySegment.NULL, Activation.NONE, context);
    context.copyRows(0, contexts, row, 1);
    scratch.release(mark);
  }

  /** The readouts of the first ones (A.2.2). */
  private void read(LayerCall call, long some, Matrix all, Matrix maxima, MemorySegment pairs) {
    Scratch scratch = call.scratch();
    long mark = scratch.mark();
    Matrix both = scratch.matrix(some, readout.out());
    readout.run(call, RecurrentPass.first(scratch, all, some), both);
    Matrix elements = scratch.view(both.segment(), some * readout.out(), 1, 1);
    Matrix to = scratch.view(maxima.segment(), some * outDim(), 1, 1);
    call.rows().pool(PoolRule.MAX, 0, false, elements, pairs, to);
    scratch.release(mark);
  }
}

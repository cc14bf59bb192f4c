package dev.gatun.internal;

import dev.gatun.internal.gatun.gatun_attention_desc;
import dev.gatun.internal.gatun.gatun_h;
import dev.gatun.internal.gatun.gatun_rotary_desc;
import dev.gatun.internal.gatun.gatun_rows_desc;
import dev.gatun.internal.gatun.gatun_sgemm_desc;
import dev.gatun.nn.Activation;
import java.lang.foreign.MemorySegment;

/**
 * The part of {@code gatun.h} that stands around attention in a Transformer block: linear layers,
 * loops over rows, packed sequences. The twin of {@link Native}; used by {@link Blocks} alone.
 */
final class NativeBlocks {

  static final long ROWS_DESC_BYTES = gatun_rows_desc.sizeof();
  static final long ROTARY_DESC_BYTES = gatun_rotary_desc.sizeof();

  private NativeBlocks() {}

  /** As {@link Native#load} says. */
  static void initialize() {
    FreshThread.initialize(gatun_rows_desc.class);
    FreshThread.initialize(gatun_rotary_desc.class);
    FreshThread.initialize(NativeBlocks.class);
    code(Activation.NONE);
  }

  private static int code(Activation activation) {
    return switch (activation) {
      case NONE -> gatun_h.GATUN_ACTIVATION_NONE();
      case RELU -> gatun_h.GATUN_ACTIVATION_RELU();
      case GELU -> gatun_h.GATUN_ACTIVATION_GELU();
      case GELU_TANH -> gatun_h.GATUN_ACTIVATION_GELU_TANH();
      case SILU -> gatun_h.GATUN_ACTIVATION_SILU();
      case QUICK_GELU -> gatun_h.GATUN_ACTIVATION_QUICK_GELU();
    };
  }

  static void activation(MemorySegment sgemmDesc, Activation activation) {
    gatun_sgemm_desc.activation(sgemmDesc, code(activation));
  }

  static int linear(
      MemorySegment context,
      MemorySegment desc,
      MemorySegment sgemm,
      MemorySegment a,
      MemorySegment b,
      MemorySegment bias,
      MemorySegment c) {
    return gatun_h.gatun_linear(context, desc, sgemm, a, b, bias, c);
  }

  /** Fills a rows descriptor whole; what a function does not use is 0. */
  private static void describe(
      MemorySegment desc, int flags, long rows, long dim, long xRow, long outRow, int activation) {
    gatun_rows_desc.struct_size(desc, (int) ROWS_DESC_BYTES);
    gatun_rows_desc.flags(desc, flags);
    gatun_rows_desc.rows(desc, rows);
    gatun_rows_desc.dim(desc, dim);
    gatun_rows_desc.x_row(desc, xRow);
    gatun_rows_desc.other_row(desc, 0);
    gatun_rows_desc.sum_row(desc, 0);
    gatun_rows_desc.out_row(desc, outRow);
    gatun_rows_desc.activation(desc, activation);
    gatun_rows_desc.epsilon(desc, 0);
    gatun_rows_desc.scale(desc, 0);
    for (int table = 0; table < 3; table++) {
      gatun_rows_desc.table_rows(desc, table, 0);
    }
  }

  static int norm(
      MemorySegment context,
      MemorySegment desc,
      boolean rms,
      float epsilon,
      long rows,
      long dim,
      MemorySegment x,
      long xRow,
      MemorySegment bias,
      MemorySegment residual,
      long residualRow,
      MemorySegment gamma,
      MemorySegment beta,
      MemorySegment sum,
      long sumRow,
      MemorySegment out,
      long outRow) {
    describe(desc, rms ? gatun_h.GATUN_NORM_RMS() : 0, rows, dim, xRow, outRow, 0);
    gatun_rows_desc.other_row(desc, residualRow);
    gatun_rows_desc.sum_row(desc, sumRow);
    gatun_rows_desc.epsilon(desc, epsilon);
    return gatun_h.gatun_norm(context, desc, x, bias, residual, gamma, beta, sum, out);
  }

  static int activation(
      MemorySegment context,
      MemorySegment desc,
      Activation activation,
      long rows,
      long dim,
      MemorySegment x,
      long xRow,
      MemorySegment bias,
      MemorySegment gate,
      long gateRow,
      MemorySegment out,
      long outRow) {
    describe(desc, 0, rows, dim, xRow, outRow, code(activation));
    gatun_rows_desc.other_row(desc, gateRow);
    return gatun_h.gatun_activation(context, desc, x, bias, gate, out);
  }

  static int embedding(
      MemorySegment context,
      MemorySegment desc,
      float factor,
      long rows,
      long dim,
      MemorySegment ids0,
      MemorySegment table0,
      long entries0,
      MemorySegment ids1,
      MemorySegment table1,
      long entries1,
      MemorySegment ids2,
      MemorySegment table2,
      long entries2,
      MemorySegment out,
      long outRow) {
    describe(desc, 0, rows, dim, 0, outRow, 0);
    gatun_rows_desc.scale(desc, factor);
    gatun_rows_desc.table_rows(desc, 0, entries0);
    gatun_rows_desc.table_rows(desc, 1, entries1);
    gatun_rows_desc.table_rows(desc, 2, entries2);
    return gatun_h.gatun_embedding(context, desc, ids0, table0, ids1, table1, ids2, table2, out);
  }

  static int pool(
      MemorySegment context,
      MemorySegment desc,
      boolean first,
      boolean normalize,
      long sequences,
      long dim,
      MemorySegment x,
      long xRow,
      MemorySegment cuSeqlens,
      MemorySegment out,
      long outRow) {
    describe(
        desc,
        normalize ? gatun_h.GATUN_POOL_NORMALIZE() : 0,
        sequences,
        dim,
        xRow,
        outRow,
        first ? gatun_h.GATUN_POOL_FIRST() : gatun_h.GATUN_POOL_MEAN());
    return gatun_h.gatun_pool(context, desc, x, cuSeqlens, out);
  }

  static int attentionWorkspaceSize(
      MemorySegment context, MemorySegment desc, MemorySegment bytes) {
    return gatun_h.gatun_attention_workspace_size(context, desc, bytes);
  }

  static void packed(MemorySegment attentionDesc) {
    gatun_attention_desc.flags(
        attentionDesc,
        gatun_attention_desc.flags(attentionDesc) | gatun_h.GATUN_ATTENTION_PACKED());
  }

  static void maxThreads(MemorySegment attentionDesc, int threads) {
    gatun_attention_desc.max_threads(attentionDesc, threads);
  }

  static int attentionPacked(
      MemorySegment context,
      MemorySegment desc,
      MemorySegment scratch,
      long scratchBytes,
      MemorySegment q,
      MemorySegment k,
      MemorySegment v,
      MemorySegment cuSeqlensQ,
      MemorySegment cuSeqlensK,
      MemorySegment out,
      MemorySegment lse) {
    MemorySegment none = MemorySegment.NULL;
    return gatun_h.gatun_attention_forward_extended(
        context,
        desc,
        scratch,
        scratchBytes,
        q,
        k,
        v,
        none,
        none,
        out,
        lse,
        cuSeqlensQ,
        cuSeqlensK,
        none,
        none,
        none,
        none,
        none,
        none,
        none,
        none,
        none,
        none,
        none,
        none,
        none);
  }

  /** Lengths or offsets of packed sequences, and slopes or biases of distances. */
  static int attentionBiased(
      MemorySegment context,
      MemorySegment desc,
      MemorySegment scratch,
      long scratchBytes,
      MemorySegment q,
      MemorySegment k,
      MemorySegment v,
      MemorySegment keyLengths,
      MemorySegment queryLengths,
      MemorySegment cuSeqlensQ,
      MemorySegment cuSeqlensK,
      MemorySegment slopes,
      MemorySegment distances,
      MemorySegment out,
      MemorySegment lse) {
    MemorySegment none = MemorySegment.NULL;
    return gatun_h.gatun_attention_forward_extended(
        context,
        desc,
        scratch,
        scratchBytes,
        q,
        k,
        v,
        keyLengths,
        queryLengths,
        out,
        lse,
        cuSeqlensQ,
        cuSeqlensK,
        none,
        none,
        none,
        none,
        slopes,
        none,
        none,
        none,
        none,
        distances,
        none,
        none,
        none);
  }

  static int softmax(
      MemorySegment context,
      MemorySegment desc,
      boolean log,
      long rows,
      long dim,
      MemorySegment x,
      long xRow,
      MemorySegment out,
      long outRow) {
    describe(desc, log ? gatun_h.GATUN_SOFTMAX_LOG() : 0, rows, dim, xRow, outRow, 0);
    return gatun_h.gatun_softmax(context, desc, x, out);
  }

  /** In place; the heads of a row without gaps. */
  static int rotary(
      MemorySegment context,
      MemorySegment desc,
      boolean interleaved,
      long rows,
      long heads,
      long headDim,
      long dim,
      MemorySegment x,
      long xRow,
      MemorySegment places,
      MemorySegment cos,
      MemorySegment sin,
      long tableRows) {
    gatun_rotary_desc.struct_size(desc, (int) ROTARY_DESC_BYTES);
    gatun_rotary_desc.flags(desc, interleaved ? gatun_h.GATUN_ROTARY_INTERLEAVED() : 0);
    gatun_rotary_desc.rows(desc, rows);
    gatun_rotary_desc.heads(desc, heads);
    gatun_rotary_desc.head_dim(desc, headDim);
    gatun_rotary_desc.rotary_dim(desc, dim);
    gatun_rotary_desc.x_row(desc, xRow);
    gatun_rotary_desc.x_head(desc, headDim);
    gatun_rotary_desc.out_row(desc, xRow);
    gatun_rotary_desc.out_head(desc, headDim);
    gatun_rotary_desc.table_rows(desc, tableRows);
    return gatun_h.gatun_rotary(context, desc, x, places, cos, sin, x);
  }
}

package dev.gatun;

import dev.gatun.internal.AttentionCall;
import dev.gatun.internal.Native;
import java.util.Objects;

/** The calls of {@link Attention#map(Tensor, Tensor, Tensor)}. */
final class AttentionMaps {

  private static final String[] TENSORS = {"q", "k", "map"};

  private AttentionMaps() {}

  static void run(
      Attention attention,
      Workspace workspace,
      Tensor q,
      Tensor k,
      Tensor map,
      AttentionMap selection,
      AttentionOptions given) {
    Objects.requireNonNull(q, "q");
    Objects.requireNonNull(k, "k");
    Objects.requireNonNull(map, "map");
    Objects.requireNonNull(selection, "selection");
    Objects.requireNonNull(given, "options");
    AttentionSpec spec = attention.spec();
    Workspace taken = attention.runtime().begin(workspace);
    AttentionOptions options = AttentionOptions.NONE;
    try {
      if (given != AttentionOptions.NONE) {
        options = taken.options.set(given);
      }
      refuse("cuSeqlens", options.cuSeqlensQ, "none, as ragged sequences have no map");
      refuse("lse", options.lse, "none beside a map");
      AttentionCall call = taken.attention;
      AttentionArguments.describeMap(
          call, spec, taken.layouts.take(q, k, null, map, options), selection);
      int status = call.prepareMap();
      if (status == Native.Abi.OVERLAP) {
        throw new IllegalArgumentException(Overlap.self("map", map.layout));
      }
      if (status == Native.Abi.OK) {
        if (map.readOnly) {
          throw AttentionArguments.readOnly("map");
        }
        Attention.giveMasks(call, options);
        status =
            call.lengths(
                    Attention.segment(options.keyLengths), Attention.segment(options.queryLengths))
                .runMap(q.segment, k.segment, map.segment);
      }
      if (status != Native.Abi.OK) {
        throw failure(call, status, spec, q, k, map, options);
      }
    } catch (IllegalStateException e) {
      throw ClosedArena.named(e, spec, options, TENSORS, q, k, map);
    } finally {
      if (options != AttentionOptions.NONE) {
        taken.options.set(AttentionOptions.NONE); // keeps nobody's memory
      }
      attention.runtime().end(workspace, taken);
    }
  }

  private static void refuse(String name, Tensor tensor, String expected) {
    if (tensor != null) {
      throw new IllegalArgumentException(
          "%s: expected %s, got %s".formatted(name, expected, tensor.layout));
    }
  }

  /** Finds out which argument a status of the native call is about. Nothing has been written. */
  private static RuntimeException failure(
      AttentionCall call,
      int status,
      AttentionSpec spec,
      Tensor q,
      Tensor k,
      Tensor map,
      AttentionOptions options) {
    if (status == Native.Abi.LENGTH) {
      return AttentionArguments.badLengths(call, options);
    }
    if (status == Native.Abi.OVERLAP) {
      return new IllegalArgumentException(Overlap.describe("map", spec, q, k, null, map, options));
    }
    return Native.failure(status, call.checkMap());
  }
}

package dev.gatun.cli;

import dev.gatun.DType;
import dev.gatun.Tensor;
import dev.gatun.internal.Messages;
import dev.gatun.io.Npy;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Collectors;

/** A mapped input and the option that named it, for messages. */
record NpyInput(String option, Path file, Tensor tensor) {

  static NpyInput map(String option, Path file, Arena arena) {
    try {
      return new NpyInput(option, file, Npy.map(file, arena));
    } catch (IOException e) {
      throw CliException.of(option, file, e);
    }
  }

  void expectType(DType... types) {
    if (!Arrays.asList(types).contains(tensor.dtype())) {
      throw refused(
          Arrays.stream(types).map(DType::toString).collect(Collectors.joining(" or ")),
          tensor.dtype().toString());
    }
  }

  void expectRank(int rank, String dimensions) {
    if (tensor.rank() != rank) {
      throw refused("shape " + dimensions, shape());
    }
  }

  /** For a size that has to be the same in another input. */
  void expectSame(int dim, String name, NpyInput other) {
    if (tensor.size(dim) != other.tensor.size(dim)) {
      throw refused(
          name + " " + other.tensor.size(dim) + " as in " + other.option + " " + other.file,
          tensor.size(dim) + " in shape " + shape());
    }
  }

  void expectSize(int dim, String name, long least, long most) {
    long size = tensor.size(dim);
    if (size < least || size > most) {
      throw refused(name + " in " + least + " .. " + most, size + " in shape " + shape());
    }
  }

  CliException refused(String expected, String got) {
    return new CliException(this + ": expected " + expected + ", got " + got);
  }

  String shape() {
    return Messages.sizes(tensor.shape());
  }

  @Override
  public String toString() {
    return option + " " + file;
  }
}

package dev.gatun.model;

import dev.gatun.GatunRuntime;
import dev.gatun.WeightFormat;
import dev.gatun.internal.Json;
import dev.gatun.io.Safetensors;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Set;
import java.util.function.UnaryOperator;

/**
 * What a family is made from: config.json and the weights of a folder in Hugging Face's layout, and
 * where it goes.
 *
 * @param folder that was read
 * @param runtime where the model runs
 * @param config what config.json says
 * @param weights mapped, under the names of the file; a family that other names lead to calls
 *     {@link #scoped}
 * @param arena stays open as long as the model is used; gets what is packed, copied or computed
 * @param format of the matrices
 */
record Checkpoint(
    Path folder,
    GatunRuntime runtime,
    FamilyConfig config,
    Weights weights,
    Arena arena,
    WeightFormat format) {

  static final String CONFIG = "config.json";
  static final String WEIGHTS = "model.safetensors";
  static final String INDEX = "model.safetensors.index.json";

  /** Whether a folder has weights in safetensors files, packed ones included. */
  static boolean isIn(Path folder) {
    return Files.exists(folder.resolve(PackedFile.NAME))
        || Files.exists(folder.resolve(WEIGHTS))
        || Files.exists(folder.resolve(INDEX));
  }

  /**
   * Maps the files of a folder.
   *
   * @throws IOException if one of them is missing, or is not what it should be
   * @throws IllegalArgumentException if the weights are packed in another format
   */
  static Checkpoint open(Path folder, GatunRuntime runtime, Arena arena, WeightFormat format)
      throws IOException {
    Path file = folder.resolve(CONFIG);
    if (!Files.exists(file)) {
      throw new NoSuchFileException(
          file.toString(), null, "a folder with safetensors has to have it");
    }
    FamilyConfig config = new FamilyConfig(file, Json.read(file));
    Weights weights = weights(folder, arena);
    if (weights instanceof PackedFile) {
      PackedFile.requireFormat(weights, format);
    }
    return new Checkpoint(folder, runtime, config, weights, arena, format);
  }

  private static Weights weights(Path folder, Arena arena) throws IOException {
    Path packed = folder.resolve(PackedFile.NAME);
    if (Files.exists(packed)) {
      return PackedFile.map(packed, arena).besideConfig();
    }
    Path single = folder.resolve(WEIGHTS);
    if (Files.exists(single)) {
      return Weights.of(Safetensors.map(single, arena), arena);
    }
    Path index = folder.resolve(INDEX);
    if (Files.exists(index)) {
      return ShardedWeights.map(index, arena);
    }
    throw new NoSuchFileException(single.toString(), null, "a model's folder has to have it");
  }

  /**
   * The same without a prefix that some files have: the names of a model inside another one, such
   * as {@code bert.encoder} in a file with a head; and with gamma and beta of old files as weight
   * and bias. Names that do not begin with the prefix stay.
   *
   * @param prefix ends in a dot
   */
  Checkpoint scoped(String prefix) {
    boolean inside = weights.names().stream().anyMatch(name -> name.startsWith(prefix));
    return renamed(name -> modern(inside ? without(prefix, name) : name));
  }

  private static String without(String prefix, String name) {
    return name.startsWith(prefix) ? name.substring(prefix.length()) : name;
  }

  /** As PyTorch has called them since 2019. */
  private static String modern(String name) {
    return name.endsWith("LayerNorm.gamma") || name.endsWith("LayerNorm.beta")
        ? name.replaceAll("gamma$", "weight").replaceAll("beta$", "bias")
        : name;
  }

  /** The same with other weights. */
  Checkpoint with(Weights others) {
    return new Checkpoint(folder, runtime, config, others, arena, format);
  }

  /** The same under other names; a weight whose name becomes null is left out. */
  Checkpoint renamed(UnaryOperator<String> names) {
    return with(new RenamedWeights(weights, names));
  }

  /**
   * The same with room for other lengths: sines and cosines are computed for as many positions as
   * config.json says, and not more than these; without a call of this, than {@link
   * FamilyConfig#POSITIONS}.
   *
   * @param most 1 or more
   */
  Checkpoint withPositions(int most) {
    return new Checkpoint(folder, runtime, config.withPositions(most), weights, arena, format);
  }

  /** The weights as loaders of layers take them: matrices become packed ones. */
  Weights packed() {
    return weights.packed(arena, format);
  }

  /** Whether there is a weight of that name. */
  boolean has(String name) {
    return weights.names().contains(name);
  }

  /** {@return the names of all weights} */
  Set<String> names() {
    return weights.names();
  }

  /** What a family makes of this. */
  @FunctionalInterface
  interface Maker<T> {
    T make(Checkpoint checkpoint);
  }

  /** Calls a family, whose refusals are said with the file. */
  <T> T make(Maker<T> maker) throws IOException {
    try {
      return maker.make(this);
    } catch (FamilyConfig.Refused e) {
      throw Json.refused(config.file(), e);
    } catch (IllegalArgumentException e) {
      String message = e.getMessage();
      String source = weights.toString();
      boolean said = message.startsWith(source + ": ");
      throw new FileSystemException(
          said || weights instanceof PackedFile ? source : folder.toString(),
          null,
          said ? message.substring(source.length() + 2) : message);
    }
  }
}

package dev.gatun.model;

import dev.gatun.Tensor;
import dev.gatun.WeightFormat;
import dev.gatun.io.Npy;
import dev.gatun.io.SafetensorsFile;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/** Where a model's weights are found by name: a file, a folder, or a map. */
@FunctionalInterface
public interface Weights {

  /**
   * Finds a weight.
   *
   * @param name as the file has it
   * @return the weight, or null if there is none of that name
   */
  Tensor find(String name);

  /**
   * Finds a weight in the type that it is stored in, where {@link #find} converts it.
   *
   * @param name as the file has it
   * @return the weight, BFLOAT16, FLOAT16 or INT8 if it is; what find returns, as here, where types
   *     are not converted
   */
  default Tensor stored(String name) {
    return find(name);
  }

  /**
   * The same weights, of which loaders pack the matrices of layers. Tables, norms and biases are
   * used where they lie, as without this.
   *
   * @param arena gets what is packed, and must stay open as long as the model is used
   * @param format what matrices become; VIEW: nothing is packed
   * @return weights for a family's loader, for use by one thread
   */
  default Weights packed(Arena arena, WeightFormat format) {
    Objects.requireNonNull(arena, "arena");
    return Objects.requireNonNull(format, "format") == WeightFormat.VIEW
        ? this
        : new PackedWeights(this, new WeightSlab(arena), format);
  }

  /**
   * Lists the weights. Loaders of families refuse those that nothing reads, since a model that has
   * them computes something else without them; {@link WeightNames#beside} says what they know.
   *
   * @return all names that {@link #find} finds; empty, as here, where they cannot be listed, which
   *     a lambda cannot: then nothing is refused
   */
  default Set<String> names() {
    return Set.of();
  }

  /**
   * Finds the scales of a quantized weight.
   *
   * @param name as the file has it
   * @return of an INT8 matrix {@code [outputs]} FLOAT32: a weight is its number times its output's
   *     scale. Of a UINT8 table {@code [1]} FLOAT32: an element is its number less the {@link
   *     #zeroPoint}, times that. Finite and above 0. Null, as here, for a weight of any other type,
   *     or if there is none of that name
   */
  default Tensor scales(String name) {
    return null;
  }

  /**
   * Returns which number of a UINT8 table stands for 0.
   *
   * @param name as the file has it
   * @return 0 .. 255; 0, as here, for a weight of any other type, or if there is none of that name
   */
  default int zeroPoint(String name) {
    return 0;
  }

  /**
   * Weights of a map.
   *
   * @param map name to tensor
   * @return what the map holds when it is asked
   */
  static Weights of(Map<String, Tensor> map) {
    Objects.requireNonNull(map, "map");
    return new Weights() {
      @Override
      public Tensor find(String name) {
        return map.get(name);
      }

      @Override
      public Set<String> names() {
        return Collections.unmodifiableSet(map.keySet());
      }
    };
  }

  /**
   * Weights of a mapped file, used where they lie; those of types that Gatun does not compute with
   * (F16, BF16, F64) are converted, once each.
   *
   * @param file must stay mapped as long as the weights are used
   * @param arena where converted weights lie
   * @return the file's weights; {@link #find} throws UncheckedIOException for a type that cannot be
   *     converted
   */
  static Weights of(SafetensorsFile file, Arena arena) {
    return new FoundWeights(
        file.file(),
        file::names,
        name -> file.names().contains(name),
        name -> file.isView(name) ? file.tensor(name) : file.tensor(name, arena),
        file::stored);
  }

  /**
   * Weights of a folder with a file {@code NAME.npy} for each, mapped when they are asked for.
   *
   * @param folder where the files are
   * @param arena closes the mappings
   * @return the folder's weights; {@link #find} throws UncheckedIOException for a file that is no
   *     npy file, and {@link #names} where the folder cannot be read
   */
  static Weights npy(Path folder, Arena arena) {
    return new FoundWeights(
        folder,
        () -> FoundWeights.npyNames(folder),
        name -> Files.exists(folder.resolve(name + ".npy")),
        name -> Npy.map(folder.resolve(name + ".npy"), arena),
        name -> null);
  }

  /**
   * Returns a weight that must be there.
   *
   * @param name as the file has it
   * @return the weight
   * @throws IllegalArgumentException if there is none of that name
   */
  default Tensor get(String name) {
    return LayerLoader.require(this, name);
  }

  /**
   * Returns a matrix that must be there.
   *
   * @param name as the file has it
   * @return a tensor of two dimensions
   * @throws IllegalArgumentException if there is none of that name, or it has another rank
   */
  default Tensor matrix(String name) {
    return LayerLoader.requireMatrix(this, name);
  }
}

package dev.gatun.model;

import dev.gatun.GatunRuntime;
import dev.gatun.WeightFormat;
import dev.gatun.internal.Messages;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Objects;

/**
 * What config.json says about the images of a model, and how such a folder is opened.
 *
 * @param hidden the size of a row
 * @param size height and width of an image
 * @param patch height and width of a patch
 * @param channels of an image
 */
record ImageFiles(int hidden, int size, int patch, int channels) {

  static Checkpoint open(GatunRuntime runtime, Path folder, Arena arena, WeightFormat format)
      throws IOException {
    Objects.requireNonNull(runtime, "runtime");
    Objects.requireNonNull(folder, "folder");
    Objects.requireNonNull(arena, "arena");
    Objects.requireNonNull(format, "format");
    return Checkpoint.open(folder, runtime, arena, format);
  }

  /** Reads the sizes, with what they are where nothing is said. */
  static ImageFiles of(FamilyConfig config, int hidden, int size, int patch) {
    ImageFiles images =
        new ImageFiles(
            config.size("hidden_size", hidden),
            config.size("image_size", size),
            config.size("patch_size", patch),
            config.size("num_channels", 3));
    if (images.size % images.patch != 0) {
      throw config.expected("image_size", "a multiple of patch_size, " + images.patch);
    }
    return images;
  }

  /** {@return the number of heads, a divisor of the rows' size} */
  static int heads(FamilyConfig config, int otherwise, int hidden) {
    int heads = config.size("num_attention_heads", otherwise);
    GatedEncoders.headSize(config, hidden, "num_attention_heads", heads);
    return heads;
  }

  /** Refuses sizes that are not those of the projection of patches. */
  void requirePatches(FamilyConfig config, Checkpoint checkpoint, String name) {
    long[] shape = LayerLoader.require(checkpoint.weights(), name).shape();
    if (shape.length != 4) {
      throw new IllegalArgumentException(
          "%s: expected 4 dimensions, got %s".formatted(name, Messages.sizes(shape)));
    }
    String[] keys = {"hidden_size", "num_channels", "patch_size", "patch_size"};
    int[] sizes = {hidden, channels, patch, patch};
    for (int i = 0; i < keys.length; i++) {
      if (shape[i] != sizes[i]) {
        throw config.expected(keys[i], "%d as %s has it".formatted(shape[i], name));
      }
    }
  }
}

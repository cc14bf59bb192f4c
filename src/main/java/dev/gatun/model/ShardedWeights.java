package dev.gatun.model;

import dev.gatun.internal.Json;
import dev.gatun.io.Safetensors;
import dev.gatun.io.SafetensorsFile;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/** The weights of a model that is divided into several safetensors files, as its index says. */
final class ShardedWeights {

  private ShardedWeights() {}

  /**
   * Maps all files.
   *
   * @param index {@code model.safetensors.index.json}
   * @param arena closes the mappings, and gets what is converted
   * @throws IOException if the index names a file outside of its folder, a tensor that its file
   *     does not have, or not one that it has; the message names it
   */
  static Weights map(Path index, Arena arena) throws IOException {
    Map<String, SafetensorsFile> tensors =
        Descriptions.read(index, json -> read(index.resolveSibling(""), json, arena));
    return new FoundWeights(
        index,
        tensors::keySet,
        tensors::containsKey,
        name -> {
          SafetensorsFile file = tensors.get(name);
          return file.isView(name) ? file.tensor(name) : file.tensor(name, arena);
        },
        name -> tensors.get(name).stored(name));
  }

  private static Map<String, SafetensorsFile> read(Path folder, Json json, Arena arena)
      throws IOException {
    Map<String, SafetensorsFile> files = new LinkedHashMap<>();
    Map<String, SafetensorsFile> tensors = new LinkedHashMap<>();
    Json map = json.get("weight_map");
    for (String name : map.names()) {
      Json place = map.get(name);
      String file = place.string();
      if (!file.matches("[\\w.-]+\\.safetensors") || file.startsWith(".")) {
        throw place.expected("the name of a safetensors file beside it");
      }
      if (!files.containsKey(file)) {
        Path path = folder.resolve(file);
        if (!Files.exists(path)) {
          throw place.expected("a file that is there");
        }
        files.put(file, Safetensors.map(path, arena));
      }
      if (!files.get(file).names().contains(name)) {
        throw place.expected("a file that has the tensor");
      }
      tensors.put(name, files.get(file));
    }
    for (Map.Entry<String, SafetensorsFile> file : files.entrySet()) {
      Set<String> missing = new TreeSet<>(file.getValue().names());
      missing.removeIf(name -> tensors.get(name) == file.getValue());
      if (!missing.isEmpty()) {
        throw new IllegalArgumentException(
            "weight_map: expected all tensors of %s, got none of the name %s"
                .formatted(file.getKey(), missing.iterator().next()));
      }
    }
    return tensors;
  }
}

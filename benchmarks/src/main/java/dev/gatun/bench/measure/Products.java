package dev.gatun.bench.measure;

import java.util.ArrayList;
import java.util.List;

/**
 * The products of a model's layers, all weights one after the other as a forward pass has them, so
 * that they come from where they would come from there. {@code native/bench/bench_linear.c} has the
 * same shapes.
 *
 * @param name of the model
 * @param layers how often the shapes follow one another
 * @param shapes of a layer
 */
public record Products(String name, int layers, List<Shape> shapes) {

  /**
   * A weight.
   *
   * @param in its rows
   * @param out its columns
   */
  public record Shape(int in, int out) {}

  public static final List<Products> ALL =
      List.of(
          new Products(
              "minilm",
              6,
              List.of(
                  new Shape(384, 1152),
                  new Shape(384, 384),
                  new Shape(384, 1536),
                  new Shape(1536, 384))),
          new Products(
              "llama1b",
              1,
              List.of(
                  new Shape(2048, 3072),
                  new Shape(2048, 2048),
                  new Shape(2048, 8192),
                  new Shape(2048, 8192),
                  new Shape(8192, 2048))));

  public static final List<Integer> ROWS = List.of(1, 4, 8, 16, 32, 64, 128, 256);

  /** Finds one by name. */
  public static Products of(String name) {
    return ALL.stream()
        .filter(each -> each.name.equals(name))
        .findFirst()
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "products: expected one of %s, got %s"
                        .formatted(ALL.stream().map(Products::name).toList(), name)));
  }

  /** All of them, in the order in which they are multiplied by. */
  public List<Shape> all() {
    List<Shape> all = new ArrayList<>();
    for (int layer = 0; layer < layers; layer++) {
      all.addAll(shapes);
    }
    return all;
  }

  /** How many numbers the weights have. */
  public long weights() {
    return layers * shapes.stream().mapToLong(each -> (long) each.in * each.out).sum();
  }

  /** Multiplications and additions of a pass. */
  public double operations(int rows) {
    return 2.0 * rows * weights();
  }
}

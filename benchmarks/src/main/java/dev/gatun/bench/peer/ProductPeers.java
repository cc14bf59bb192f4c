package dev.gatun.bench.peer;

import dev.gatun.bench.measure.Products;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** The ways to compute products: names, what each needs, and what makes it. */
public final class ProductPeers {

  public static final List<String> NAMES =
      List.of(
          "gatun F32",
          "openblas F32",
          "mkl F32",
          "onednn F32",
          "gatun BF16",
          "mkl BF16",
          "onednn BF16",
          "gatun INT8",
          "mkl INT8",
          "onednn INT8");

  private ProductPeers() {}

  public static ProductPeer.Type type(String name) {
    return ProductPeer.Type.valueOf(name.substring(name.indexOf(' ') + 1));
  }

  private static String library(String name) {
    return name.substring(0, name.indexOf(' '));
  }

  public static ProductPeer make(String name, Products products, int rows) {
    return switch (library(name)) {
      case "gatun" -> new ProductPeer.Gatun(products, type(name), rows);
      case "openblas" -> new ProductPeer.OpenBlas(products, rows);
      case "mkl" -> new MklProducts(products, type(name), rows);
      case "onednn" -> new OneDnnProducts(products, type(name), rows);
      default ->
          throw new IllegalArgumentException(
              "peer: expected one of %s, got %s".formatted(NAMES, name));
    };
  }

  /**
   * Unpacks what a peer needs, and returns the flags of the JVM that it runs in.
   *
   * @throws IOException if it is not there
   */
  public static List<String> flags(String name) throws IOException {
    return switch (library(name)) {
      case "mkl" -> flag(MklProducts.FOLDER, "mkl-");
      case "onednn" -> flag(OneDnnProducts.FOLDER, "dnnl-");
      default -> List.of();
    };
  }

  private static List<String> flag(String property, String jar) throws IOException {
    Path folder = PeerJars.unpack(PeerJars.find(jar));
    return List.of("-D%s=%s".formatted(property, folder));
  }

  /** Variables by which libraries have one thread, and MKL finds its parts. */
  public static Map<String, String> variables(String name) throws IOException {
    return library(name).equals("mkl")
        ? Map.of(
            "LD_LIBRARY_PATH",
            PeerJars.unpack(PeerJars.find("mkl-")).toString(),
            "MKL_INTERFACE_LAYER",
            "LP64",
            "MKL_NUM_THREADS",
            "1",
            "OMP_NUM_THREADS",
            "1")
        : Map.of("OMP_NUM_THREADS", "1");
  }
}

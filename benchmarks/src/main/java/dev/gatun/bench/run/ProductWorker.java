package dev.gatun.bench.run;

import dev.gatun.bench.measure.Products;
import dev.gatun.bench.peer.ProductPeer;
import dev.gatun.bench.peer.ProductPeers;
import java.io.IOException;

/**
 * The products of a model by one library in one type: the contestants of {@link ProductComparison}.
 * A process of its own: {@code ProductWorker quick|full NAME}.
 */
public final class ProductWorker {

  private ProductWorker() {}

  /** Makes ready for a case: a model's name and rows. */
  static BlockServer.Ready prepare(String name, String what) {
    String[] parts = what.split(" ");
    ProductPeer peer = ProductPeers.make(name, Products.of(parts[0]), Integer.parseInt(parts[1]));
    try {
      peer.check();
      return new BlockServer.Ready(peer, peer::peak, peer.kernels());
    } catch (RuntimeException e) {
      peer.close();
      throw e;
    }
  }

  /**
   * Serves.
   *
   * @param args {@code quick} or {@code full}, and the name
   * @throws IOException if there is nobody to answer to
   */
  public static void main(String[] args) throws IOException {
    BlockServer.serve(what -> prepare(args[1], what), args[0].equals("quick"), 1);
  }
}

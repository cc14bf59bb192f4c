package dev.gatun.bench.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.bench.measure.Products;
import dev.gatun.bench.peer.ProductPeers;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Products that need no other library are right, and have a peak beside them. */
class ProductWorkerTest {

  @Test
  void gatunAndOpenBlasAreRight() {
    for (String name : ProductPeers.NAMES) {
      if (name.startsWith("gatun") || name.startsWith("openblas")) {
        BlockServer.Ready ready = ProductWorker.prepare(name, "minilm 3");
        assertTrue(ready.roof().applyAsDouble(1e-4) > 1e9, name);
        assertTrue(!ready.note().isEmpty(), name);
        ready.peer().calls(1);
        ready.peer().close();
      }
    }
  }

  @Test
  void shapesAreThoseOfTheModels() {
    Products minilm = Products.of("minilm");
    assertEquals(24, minilm.all().size());
    assertEquals(6L * (384 * 1152 + 384 * 384 + 2 * 384 * 1536), minilm.weights());
    assertEquals(32.0 * minilm.weights(), minilm.operations(16));
    assertThrows(IllegalArgumentException.class, () -> Products.of("maxilm"));
  }

  @Test
  void aLibraryThatIsNotThereSaysSo(@TempDir Path folder) throws IOException {
    String before = System.getProperty("gatun.bench.peers");
    System.setProperty("gatun.bench.peers", folder.toString());
    try {
      FileNotFoundException e =
          assertThrows(FileNotFoundException.class, () -> ProductPeers.flags("mkl INT8"));
      assertEquals("mkl-: its jar is not there; make bench fetches it", e.getMessage());
    } finally {
      if (before == null) {
        System.clearProperty("gatun.bench.peers");
      } else {
        System.setProperty("gatun.bench.peers", before);
      }
    }
  }
}

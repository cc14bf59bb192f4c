package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.nn.Pooling;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EmbeddingModelSpecTest {

  @TempDir Path folder;

  private void write(String file, String text) throws IOException {
    Path path = folder.resolve(file);
    Files.createDirectories(path.getParent());
    Files.writeString(path, text);
  }

  @Test
  void namedModels() throws IOException {
    assertEquals(
        "[minilm, bge-small, e5-small, bge-small-zh, minilm-q, bge-small-q, e5-small-q]",
        EmbeddingModelSpec.named().toString());
    for (EmbeddingModelSpec spec : EmbeddingModelSpec.named()) {
      assertSame(spec, EmbeddingModelSpec.of(spec.name()));
    }
    assertEquals(List.of(Pooling.MEAN), EmbeddingModelSpec.MINILM.poolings());
    assertEquals(List.of(Pooling.CLS), EmbeddingModelSpec.BGE_SMALL.poolings());
    assertEquals(List.of(Pooling.MEAN), EmbeddingModelSpec.E5_SMALL.poolings());
    assertEquals("query: ", EmbeddingModelSpec.E5_SMALL.queryPrefix());
    assertEquals("passage: ", EmbeddingModelSpec.E5_SMALL.passagePrefix());
    assertEquals("", EmbeddingModelSpec.BGE_SMALL.queryPrefix());
    assertEquals(List.of(Pooling.CLS), EmbeddingModelSpec.BGE_SMALL_ZH.poolings());
    assertEquals(List.of(Pooling.MEAN), EmbeddingModelSpec.MINILM_Q.poolings());
    assertEquals(List.of(Pooling.CLS), EmbeddingModelSpec.BGE_SMALL_Q.poolings());
    assertEquals("passage: ", EmbeddingModelSpec.E5_SMALL_Q.passagePrefix());
  }

  @Test
  void folders() throws IOException {
    write("model.onnx", "");
    String message =
        assertThrows(IOException.class, () -> EmbeddingModelSpec.folder(folder)).getMessage();
    assertTrue(message.contains("tokenizer.json"), message);
    write("tokenizer.json", "{}");
    EmbeddingModelSpec plain = EmbeddingModelSpec.of(folder.toString());
    assertEquals(List.of(Pooling.MEAN), plain.poolings());
    assertEquals(folder.toString(), plain.name());

    write(
        "1_Pooling/config.json",
        "{\"word_embedding_dimension\": 384, \"pooling_mode_cls_token\": true,\n"
            + "\"pooling_mode_mean_tokens\": false}");
    assertEquals(List.of(Pooling.CLS), EmbeddingModelSpec.folder(folder).poolings());
    write("1_Pooling/config.json", "{\"pooling_mode_mean_tokens\" : true}");
    assertEquals(List.of(Pooling.MEAN), EmbeddingModelSpec.folder(folder).poolings());
    write("1_Pooling/config.json", "{\"pooling_mode_max_tokens\": true}");
    message = assertThrows(IOException.class, () -> EmbeddingModelSpec.folder(folder)).getMessage();
    assertTrue(message.contains("pooling_mode_mean_tokens"), message);
  }

  @Test
  void neitherNameNorFolder() {
    String message =
        assertThrows(IOException.class, () -> EmbeddingModelSpec.of("mini")).getMessage();
    assertTrue(message.contains("minilm, bge-small, e5-small"), message);
  }
}

package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.GatunRuntime;
import dev.gatun.WeightFormat;
import dev.gatun.model.Fill;
import dev.gatun.model.MaskedLanguageModel;
import dev.gatun.support.BertJars;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Google's BERT with the heads that it was trained with, from a cache: see make models. */
@Tag("models")
class PretrainedBertTest {
  private static final String FRANCE = "the capital of france is [MASK] .";

  private static Path uncased() throws IOException {
    return BertJars.folder(
        Path.of(System.getProperty("gatun.models")), "uncased-L-12-H-768-A-12", true);
  }

  private static Path multilingual() throws IOException {
    return BertJars.folder(
        Path.of(System.getProperty("gatun.models")), "multi-cased-L-12-H-768-A-12", false);
  }

  private static Fill best(Path folder, String text, WeightFormat format) throws IOException {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
        MaskedLanguageModel model = MaskedLanguageModel.load(runtime, folder, format)) {
      List<Fill> fills = model.fill(text, 5).getFirst();
      System.out.printf("%s: %s%n", format, fills);
      return fills.getFirst();
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = WeightFormat.class,
      names = {"AUTO", "VIEW", "BF16", "INT8", "Q8_0"})
  void france(WeightFormat format) throws IOException {
    Fill best = best(uncased(), FRANCE, format);
    assertEquals("paris", best.token());
    assertEquals(3000, best.id());
    assertEquals("the capital of france is paris.", best.text());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "the cat sat on the [MASK] .|floor",
        "he sat down to eat his [MASK] .|dinner",
        "two plus two is [MASK] .|four",
        "she went to the [MASK] to buy some bread .|store"
      })
  void english(String text, String word) throws IOException {
    assertEquals(word, best(uncased(), text, WeightFormat.AUTO).token());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "Paris ist die Hauptstadt von [MASK] .|Frankreich",
        "Paris est la capitale de la [MASK] .|France",
        "Roma è la capitale d'[MASK] .|Italia",
        "Madrid es la capital de [MASK] .|España"
      })
  void languages(String text, String word) throws IOException {
    assertEquals(word, best(multilingual(), text, WeightFormat.AUTO).token());
  }

  @Test
  void commandLine() throws IOException {
    CliRun run = CliRun.run("fill", "--model", uncased().toString(), "--top", "1", FRANCE);
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().contains("the capital of france is paris."), run.out());
    System.out.print(run.out());
  }
}

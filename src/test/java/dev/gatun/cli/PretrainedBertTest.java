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

  private static List<Fill> best(Path folder, String text, WeightFormat format) throws IOException {
    try (GatunRuntime runtime = GatunRuntime.builder().threads(2).build();
        MaskedLanguageModel model = MaskedLanguageModel.load(runtime, folder, format)) {
      List<Fill> fills = model.fill(text, 5).getFirst();
      System.out.printf("%s: %s%n", format, fills);
      return fills;
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = WeightFormat.class,
      names = {"AUTO", "VIEW", "BF16", "INT8", "Q8_0"})
  void france(WeightFormat format) throws IOException {
    Fill best = best(uncased(), FRANCE, format).getFirst();
    assertEquals("paris", best.token());
    assertEquals(3000, best.id());
    assertEquals("the capital of france is paris.", best.text());
  }

  /**
   * What transformers prints on the cards of bert-base-uncased and bert-base-multilingual-cased.
   */
  @ParameterizedTest
  @CsvSource({
    "true, fashion 4827 0.1073106899857521, role 2535 0.08774490654468536,"
        + " new 2047 0.05338378623127937, super 3565 0.04667217284440994,"
        + " fine 2986 0.027095865458250046",
    "false, model 13192 0.10182085633277893, world 11356 0.052126359194517136,"
        + " data 11165 0.048930276185274124, flight 23578 0.02036019042134285,"
        + " business 14155 0.020079681649804115"
  })
  void cards(boolean english, String one, String two, String three, String four, String five)
      throws IOException {
    Path folder = english ? uncased() : multilingual();
    List<Fill> fills = best(folder, "Hello I'm a [MASK] model.", WeightFormat.AUTO);
    List<String> lines = List.of(one, two, three, four, five);
    for (int n = 0; n < lines.size(); n++) {
      String[] wanted = lines.get(n).split(" ");
      Fill fill = fills.get(n);
      assertEquals(wanted[0], fill.token());
      assertEquals(Integer.parseInt(wanted[1]), fill.id());
      // both in float32, in sums of other orders
      assertEquals(Double.parseDouble(wanted[2]), fill.probability(), 2e-5);
    }
  }

  /** A capital may be likelier than its country; the country is the next. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "Paris est la capitale de la [MASK] .|France|1",
        "Roma è la capitale d'[MASK] .|Italia|1",
        "Paris ist die Hauptstadt von [MASK] .|Frankreich|2",
        "Madrid es la capital de [MASK] .|España|2"
      })
  void languages(String text, String word, int within) throws IOException {
    List<Fill> fills = best(multilingual(), text, WeightFormat.AUTO);
    assertTrue(
        fills.subList(0, within).stream().anyMatch(fill -> fill.token().equals(word)),
        fills::toString);
  }

  @Test
  void commandLine() throws IOException {
    CliRun run = CliRun.run("fill", "--model", uncased().toString(), "--top", "1", FRANCE);
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().contains("the capital of france is paris."), run.out());
    System.out.print(run.out());
  }
}

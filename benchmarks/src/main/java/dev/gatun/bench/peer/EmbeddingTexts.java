package dev.gatun.bench.peer;

import dev.gatun.model.EmbeddingModelSpec;
import dev.gatun.model.Tokenizer;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** What is embedded: batches of a length, and texts of several languages. */
public final class EmbeddingTexts {

  /** Batches by the names that reports give them: tokens of a text, or texts × tokens. */
  public static final List<String> CASES =
      List.of("1", "16", "32", "128", "256", "512", "32x16", "32x128", "32 mixed");

  /** LangChain4j's tokenizer cuts here, so that no mixed text is longer. */
  private static final int MOST_MIXED = 128;

  /** How many texts accuracy is measured with at most. */
  public static final int MOST = 1200;

  /** Words that are one token each. */
  private static final String[] WORDS =
      ("time year people way day man thing woman life child world school state family student group"
           + " country problem hand part place case week company system program question work"
           + " government number night point home water room mother area money story fact month lot"
           + " right study book eye job word business issue side kind head house service friend"
           + " father power hour game line end member law car city community name president team"
           + " minute idea body information back parent face level office door health person art"
           + " war history party result change morning reason research girl guy moment air teacher"
           + " force education")
          .split(" ");

  /**
   * A text and its tokens.
   *
   * @param text null if no text has these tokens
   */
  public record Text(String text, int[] ids) {}

  private EmbeddingTexts() {}

  /** The lengths of a case, tokens. */
  public static int[] lengths(String name) {
    if (!CASES.contains(name)) {
      throw new IllegalArgumentException("case: expected one of %s, got %s".formatted(CASES, name));
    }
    if (name.endsWith(" mixed")) {
      int[] lengths = new int[32];
      for (int i = 0; i < lengths.length; i++) {
        // every length of a row of steps once, in no order
        lengths[i] = 4 + i * 13 % lengths.length * (MOST_MIXED - 4) / (lengths.length - 1);
      }
      return lengths;
    }
    int x = name.indexOf('x');
    int[] lengths = new int[x < 0 ? 1 : Integer.parseInt(name.substring(0, x))];
    Arrays.fill(lengths, Integer.parseInt(name.substring(x + 1)));
    return lengths;
  }

  /** The texts of a case, no two alike. */
  public static List<Text> of(String name) throws IOException {
    Tokenizer tokenizer = EmbeddingModelSpec.MINILM.loadTokenizer();
    List<Text> texts = new ArrayList<>();
    Random random = new Random(5);
    for (int length : lengths(name)) {
      if (length == 1) {
        texts.add(new Text(null, new int[] {101}));
        continue;
      }
      List<String> words = new ArrayList<>();
      for (int i = 2; i < length; i++) {
        words.add(WORDS[random.nextInt(WORDS.length)]);
      }
      String text = String.join(" ", words);
      int[] ids = tokenizer.encode(text, 512).ids();
      if (ids.length != length) {
        throw new IllegalStateException(
            "tokens of \"%s\": expected %d, got %d".formatted(text, length, ids.length));
      }
      texts.add(new Text(text, ids));
    }
    return texts;
  }

  // ---- texts for accuracy --------------------------------------------------------------------

  /** Sentences by language, in the order of the file. */
  static Map<String, List<String>> sentences() throws IOException {
    Map<String, List<String>> languages = new LinkedHashMap<>();
    try (InputStream in = EmbeddingTexts.class.getResourceAsStream("sentences.txt");
        BufferedReader lines =
            new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8))) {
      List<String> current = null;
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        if (line.startsWith("[")) {
          current = new ArrayList<>();
          languages.put(line.substring(1, line.length() - 1), current);
        } else if (!line.startsWith("#")) {
          current.add(line);
        }
      }
    }
    return languages;
  }

  private static final Pattern BLANK_LINES = Pattern.compile("\\R\\s*\\R");

  /** Paragraphs of this repository's documents, from its folder; fewer where there are none. */
  private static List<String> paragraphs() throws IOException {
    List<String> paragraphs = new ArrayList<>();
    List<Path> files = new ArrayList<>();
    for (String folder : new String[] {".", "docs"}) {
      if (Files.isDirectory(Path.of(folder))) {
        try (Stream<Path> list = Files.list(Path.of(folder))) {
          list.filter(file -> file.toString().endsWith(".md")).sorted().forEach(files::add);
        }
      }
    }
    for (Path file : files) {
      for (String each : BLANK_LINES.split(Files.readString(file))) {
        String text = each.replaceAll("\\s+", " ").strip();
        if (text.length() >= 40 && !text.startsWith("|") && !text.startsWith("```")) {
          paragraphs.add(text);
        }
      }
    }
    return paragraphs;
  }

  /**
   * Texts of twelve languages: single sentences, two and three of them one after the other, and
   * paragraphs of this repository's documents, no two alike.
   */
  public static List<String> varied() throws IOException {
    List<String> texts = new ArrayList<>();
    for (List<String> language : sentences().values()) {
      texts.addAll(language);
      int n = language.size();
      for (int step = 1; step <= 4; step++) {
        for (int i = 0; i < n; i++) {
          texts.add(language.get(i) + " " + language.get((i + step) % n));
        }
      }
      for (int i = 0; i < n; i++) {
        for (int step : new int[] {5, 7}) {
          texts.add(
              language.get(i)
                  + " "
                  + language.get((i + step) % n)
                  + " "
                  + language.get((i + 2 * step + 1) % n));
        }
      }
    }
    texts.addAll(paragraphs());
    List<String> different = texts.stream().distinct().toList();
    return different.subList(0, Math.min(MOST, different.size()));
  }
}

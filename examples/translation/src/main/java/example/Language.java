package example;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A dictionary with probabilities, and in plain Java what the model has to compute from it.
 *
 * <p>The French word depends on the meaning of the English one and on the gender of the last French
 * article: of two, {@link #MASCULINE} also where there is none.
 */
final class Language {

  static final String BEGIN = "<s>";
  static final String END = "</s>";
  static final int MASCULINE = 0;
  static final int FEMININE = 1;
  static final int GENDERS = 2;

  private static final String DICTIONARY =
      """
      the       *  le 0.55  la 0.45
      he        *  il 1
      big       m  grand 0.9  gros 0.1
      big       f  grande 0.9  grosse 0.1
      small     m  petit 1
      small     f  petite 1
      cat       m  chat 0.95  chatte 0.05
      cat       f  chatte 0.6  chat 0.4
      moon      m  satellite 0.5  lune 0.3  croissant 0.2
      moon      f  lune 0.98  satellite 0.02
      saw:noun  m  dicton 0.5  scie 0.4  proverbe 0.1
      saw:noun  f  scie 0.98  maxime 0.02
      saw:verb  *  vit 0.8  voyait 0.2
      sees      *  voit 0.9  regarde 0.1
      sleeps    *  dort 1
      and       *  et 1
      </s>      *  </s> 1
      """;

  /** Words that a noun follows. */
  private static final Set<String> BEFORE_NOUNS = Set.of("the", "big", "small");

  private static final Map<String, Integer> ARTICLES =
      Map.of(BEGIN, MASCULINE, "le", MASCULINE, "la", FEMININE);

  final List<String> english = new ArrayList<>();
  final List<String> french = new ArrayList<>(List.of(BEGIN));

  /** A word, or a word and its part of speech. */
  final List<String> meanings = new ArrayList<>();

  /** By meaning and gender, {@code meaning * GENDERS + gender}: probabilities of French words. */
  private final List<Map<String, Double>> words = new ArrayList<>();

  Language() {
    for (String line : DICTIONARY.lines().toList()) {
      String[] fields = line.split(" +");
      if (!meanings.contains(fields[0])) {
        meanings.add(fields[0]);
        words.add(new LinkedHashMap<>());
        words.add(new LinkedHashMap<>());
      }
      add(english, wordOf(fields[0]));
      for (int n = 2; n < fields.length; n += 2) {
        add(french, fields[n]);
        for (int gender = 0; gender < GENDERS; gender++) {
          if (fields[1].equals("*") || fields[1].equals(gender == MASCULINE ? "m" : "f")) {
            words(meanings.size() - 1, gender).put(fields[n], Double.valueOf(fields[n + 1]));
          }
        }
      }
    }
  }

  private static void add(List<String> list, String word) {
    if (!list.contains(word)) {
      list.add(word);
    }
  }

  static String wordOf(String meaning) {
    return meaning.split(":")[0];
  }

  static boolean isAmbiguous(String meaning) {
    return meaning.contains(":");
  }

  static boolean isNoun(String meaning) {
    return meaning.endsWith(":noun");
  }

  static boolean isBeforeNouns(String word) {
    return BEFORE_NOUNS.contains(word);
  }

  /** The gender that a French article sets; null for all other words. */
  static Integer genderOf(String word) {
    return ARTICLES.get(word);
  }

  Map<String, Double> words(int meaning, int gender) {
    return words.get(meaning * GENDERS + gender);
  }

  /** The logarithm of the probability that the dictionary gives a translation. */
  double logProbability(List<String> source, List<String> target) {
    double sum = 0;
    int gender = MASCULINE;
    for (int n = 0; n < source.size(); n++) {
      String word = target.get(n);
      sum += Math.log(words(meaning(source, n), gender).getOrDefault(word, 0.0));
      gender = ARTICLES.getOrDefault(word, gender);
    }
    return sum;
  }

  /** The greatest of all of them, by trying every word at every place. */
  double best(List<String> source) {
    return best(source, 0, MASCULINE);
  }

  private double best(List<String> source, int n, int gender) {
    if (n == source.size()) {
      return 0;
    }
    double most = Double.NEGATIVE_INFINITY;
    for (Map.Entry<String, Double> word : words(meaning(source, n), gender).entrySet()) {
      int next = ARTICLES.getOrDefault(word.getKey(), gender);
      most = Math.max(most, Math.log(word.getValue()) + best(source, n + 1, next));
    }
    return most;
  }

  private int meaning(List<String> source, int n) {
    String word = source.get(n);
    int meaning = meanings.indexOf(word);
    if (meaning < 0) {
      boolean noun = n > 0 && isBeforeNouns(source.get(n - 1));
      meaning = meanings.indexOf(word + (noun ? ":noun" : ":verb"));
    }
    return meaning;
  }
}

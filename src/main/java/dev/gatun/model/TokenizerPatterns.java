package dev.gatun.model;

import dev.gatun.internal.Json;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * The regular expressions that may stand in a tokenizer.json.
 *
 * <p>The library runs them by a backtracking engine, which gives up after ten million steps back
 * and then ends the process: {@code (a|aa)+$} needs a text of 41 characters for that. Whether an
 * expression can do so is not to be seen in general. These are the ones that published tokenizers
 * have; each goes back over a run of characters at most a few times, that is linear in the length
 * of a text, which is limited ({@link TextCuts#MAX_CHARS}).
 */
final class TokenizerPatterns {

  /** What an expression does at a space that follows a letter or a digit. */
  enum Kind {
    /** No match has both: a piece ends there. */
    SPLITS,
    /** Matches no such space, and looks at none. */
    NEUTRAL
  }

  private static final String ENGLISH = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
  private static final String ENGLISH_SPELLED =
      "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
  private static final String LETTERS = "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+";
  private static final String SPACES = "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  private static final String OTHERS = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" + SPACES;
  private static final String OTHERS_SLASH = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" + SPACES;
  private static final String CAPITALS_SMALL =
      "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+";
  private static final String CAPITALS =
      "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*";
  private static final String GPT2 = "| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
  private static final String CLIP =
      "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";

  private static final Map<String, Kind> KNOWN = new LinkedHashMap<>();

  static {
    for (String words : new String[] {ENGLISH, ENGLISH_SPELLED}) {
      // cl100k and LLaMA 3, Qwen 2 and 3, Qwen 3.5.
      splits(words + LETTERS + "|\\p{N}{1,3}" + OTHERS);
      splits(words + LETTERS + "|\\p{N}" + OTHERS);
      splits(words + LETTERS + "|\\p{N}+" + OTHERS);
      splits(
          words
              + "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*"
              + SPACES);
      // o200k.
      splits(CAPITALS_SMALL + words + "?" + CAPITALS + words + "?" + "|\\p{N}{1,3}" + OTHERS_SLASH);
    }
    // cl100k as tiktoken writes it.
    splits(
        "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}"
            + "| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+");
    // Mistral's tekken.
    splits(CAPITALS_SMALL + CAPITALS + "|\\p{N}" + OTHERS_SLASH);
    splits(CAPITALS_SMALL + CAPITALS + "|\\p{N}{1,3}" + OTHERS_SLASH);
    // GPT-2 and RoBERTa where it is spelled out, CLIP, BLOOM.
    splits("'s|'t|'re|'ve|'m|'ll|'d" + GPT2);
    splits("'(?:[sdmt]|ll|ve|re)" + GPT2);
    splits(CLIP);
    splits("<\\|startoftext\\|>|<\\|endoftext\\|>|" + CLIP);
    splits(" ?[^(\\s|[.,!?…。，、।۔،])]+");
    // DeepSeek 3.
    splits(
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
            + "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*"
            + SPACES);
    neutral("[一-龥぀-ゟ゠-ヿ]+");
    // Spaces, words, digits, ends of lines.
    for (String simple : new String[] {"\\s", "\\s+", " +", "\\w+|[^\\w\\s]+"}) {
      splits(simple);
    }
    for (String simple :
        new String[] {
          "\\p{N}",
          "\\p{N}+",
          "\\p{N}{1,3}",
          "\\d",
          "\\d+",
          "\\d{1,3}",
          "[0-9]",
          "[0-9]+",
          "[0-9][0-9][0-9]",
          "\\n",
          "\\n+",
          "\\r\\n",
          "[\\r\\n]",
          "[\\r\\n]+",
          " {2,}"
        }) {
      neutral(simple);
    }
  }

  private TokenizerPatterns() {}

  private static void splits(String expression) {
    KNOWN.put(expression, Kind.SPLITS);
  }

  private static void neutral(String expression) {
    KNOWN.put(expression, Kind.NEUTRAL);
  }

  /** Returns the string that is looked for as it is, or null if it is an expression. */
  static String literal(Json pattern) {
    pattern.only(Set.of("String", "Regex"));
    if (pattern.names().size() != 1) {
      throw pattern.expected("either String or Regex");
    }
    Json literal = pattern.find("String");
    if (literal.isNull()) {
      return null;
    }
    int chars = literal.string().length();
    if (chars < 1 || chars > 256) {
      throw literal.expected("a text of 1 to 256 characters");
    }
    return literal.string();
  }

  /** Tells what an expression does that is known, and refuses others. */
  static Kind expression(Json pattern) {
    Json expression = pattern.get("Regex");
    Kind kind = KNOWN.get(expression.string());
    if (kind == null) {
      throw expression.expected("one of the regular expressions that are known to end");
    }
    return kind;
  }
}

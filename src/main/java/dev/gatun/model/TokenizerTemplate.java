package dev.gatun.model;

import dev.gatun.internal.Json;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What a tokenizer.json's post-processor does: the tokens that it puts around one text or two, and
 * the spaces that it leaves out of offsets.
 *
 * @param single for one text
 * @param pair for two; null if the file's does not have each of them once
 * @param trims those that leave spaces out, in the order in which they do
 */
record TokenizerTemplate(Layout single, Layout pair, List<Trim> trims) {
  static final int FIRST = -1;
  static final int SECOND = -2;

  private static final int MAX_PIECES = 64;

  /** Of a post-processor that adds nothing. */
  private static final Layout ONE = new Layout(new int[] {FIRST}, new int[1]);

  private static final Layout TWO = new Layout(new int[] {FIRST, SECOND}, new int[] {0, 1});

  /**
   * Tokens and texts in their order.
   *
   * @param pieces ids of tokens, {@link #FIRST} and {@link #SECOND} in place of texts; not copied
   * @param typeIds of each token, and of each text's tokens; not copied
   */
  record Layout(int[] pieces, int[] typeIds) {

    /** Returns how many tokens it adds. */
    int added() {
      int added = 0;
      for (int piece : pieces) {
        added += piece >= 0 ? 1 : 0;
      }
      return added;
    }

    /** Says whether all type ids are 0. */
    boolean oneType() {
      for (int type : typeIds) {
        if (type != 0) {
          return false;
        }
      }
      return true;
    }

    /** Returns its texts alone. */
    Layout texts() {
      List<int[]> texts = new ArrayList<>();
      for (int i = 0; i < pieces.length; i++) {
        if (pieces[i] < 0) {
          texts.add(new int[] {pieces[i], typeIds[i]});
        }
      }
      return of(texts);
    }

    private static Layout of(List<int[]> pieces) {
      return new Layout(
          pieces.stream().mapToInt(piece -> piece[0]).toArray(),
          pieces.stream().mapToInt(piece -> piece[1]).toArray());
    }

    private boolean hasOnce(int text) {
      int times = 0;
      for (int piece : pieces) {
        times += piece == text ? 1 : 0;
      }
      return times == 1;
    }
  }

  /**
   * One who leaves leading and trailing spaces of tokens out of their offsets.
   *
   * @param prefixed whether a space was put before the text, which is none of its own
   */
  record Trim(boolean prefixed) {}

  /** Returns the ids that come before a single text. */
  int[] before() {
    int at = place(single);
    return Arrays.copyOf(single.pieces, at);
  }

  /** Returns the ids that come after a single text. */
  int[] after() {
    int at = place(single);
    return Arrays.copyOfRange(single.pieces, at + 1, single.pieces.length);
  }

  private static int place(Layout layout) {
    int at = 0;
    while (layout.pieces[at] >= 0) {
      at++;
    }
    return at;
  }

  /** Reads a post-processor, and refuses one that is not known. */
  static TokenizerTemplate read(Json processor) {
    List<Trim> trims = new ArrayList<>();
    TokenizerTemplate found = processor.isNull() ? null : find(processor, trims);
    return found == null
        ? new TokenizerTemplate(ONE, TWO, trims)
        : new TokenizerTemplate(found.single, found.pair, trims);
  }

  /** Returns null if it does nothing but trim. */
  private static TokenizerTemplate find(Json processor, List<Trim> trims) {
    Json type = processor.get("type");
    return switch (type.string()) {
      case "TemplateProcessing" -> template(processor);
      case "BertProcessing" -> {
        processor.only(Set.of("type", "sep", "cls"));
        yield around(processor, new int[] {0, 1, 1}, false);
      }
      case "RobertaProcessing" -> {
        processor.only(Set.of("type", "sep", "cls", "trim_offsets", "add_prefix_space"));
        trims(processor, trims);
        yield around(processor, new int[3], true);
      }
      case "ByteLevel" -> {
        TokenizerSplits.checkByteLevel(processor);
        trims(processor, trims);
        yield null;
      }
      case "Sequence" -> {
        processor.only(Set.of("type", "processors"));
        TokenizerTemplate result = null;
        for (Json part : processor.get("processors").elements()) {
          TokenizerTemplate template = find(part, trims);
          if (template != null && result != null) {
            throw part.expected("one post-processor that adds tokens");
          }
          result = template == null ? result : template;
        }
        yield result;
      }
      default -> throw type.expected("a post-processor that is known");
    };
  }

  private static void trims(Json processor, List<Trim> trims) {
    Trim trim = new Trim(processor.get("add_prefix_space").bool());
    if (processor.get("trim_offsets").bool()) {
      trims.add(trim);
    }
  }

  /** What the processors of BERT and RoBERTa do: types are those of A, of B and of its end. */
  private static TokenizerTemplate around(Json processor, int[] types, boolean between) {
    int start = token(processor.get("cls"));
    int end = token(processor.get("sep"));
    List<int[]> single = new ArrayList<>();
    single.add(new int[] {start, 0});
    single.add(new int[] {FIRST, types[0]});
    single.add(new int[] {end, 0});
    List<int[]> pair = new ArrayList<>(single);
    if (between) {
      pair.add(new int[] {end, 0});
    }
    pair.add(new int[] {SECOND, types[1]});
    pair.add(new int[] {end, types[2]});
    return new TokenizerTemplate(Layout.of(single), Layout.of(pair), List.of());
  }

  private static int id(Json id) {
    return (int) id.integer(0, Integer.MAX_VALUE);
  }

  /** Reads {@code ["[CLS]", 101]}. */
  private static int token(Json token) {
    List<Json> pair = token.elements();
    if (pair.size() != 2) {
      throw token.expected("a token and its id");
    }
    pair.get(0).string();
    return id(pair.get(1));
  }

  private static TokenizerTemplate template(Json processor) {
    processor.only(Set.of("type", "single", "pair", "special_tokens"));
    Map<String, int[]> special = new HashMap<>();
    processor
        .get("special_tokens")
        .forEach(
            (name, token) -> {
              token.only(Set.of("id", "ids", "tokens"));
              token.get("id").string();
              List<Json> ids = token.get("ids").elements();
              List<Json> tokens = token.get("tokens").elements();
              if (ids.size() != tokens.size() || ids.size() > MAX_PIECES) {
                throw token.expected("as many ids as tokens, and at most %d".formatted(MAX_PIECES));
              }
              tokens.forEach(Json::string);
              special.put(name, ids.stream().mapToInt(TokenizerTemplate::id).toArray());
            });
    Layout pair = pieces(processor.get("pair"), special, Set.of("A", "B"));
    Layout single = pieces(processor.get("single"), special, Set.of("A"));
    if (!single.hasOnce(FIRST)) {
      throw processor.get("single").expected("the sequence A once");
    }
    boolean both = pair.hasOnce(FIRST) && pair.hasOnce(SECOND);
    return new TokenizerTemplate(single, both ? pair : null, List.of());
  }

  private static Layout pieces(Json template, Map<String, int[]> special, Set<String> sequences) {
    List<Json> pieces = template.elements();
    if (pieces.size() > MAX_PIECES) {
      throw template.expected("at most %d pieces".formatted(MAX_PIECES));
    }
    List<int[]> layout = new ArrayList<>();
    for (Json piece : pieces) {
      piece.only(Set.of("Sequence", "SpecialToken"));
      if (piece.names().size() != 1) {
        throw piece.expected("either Sequence or SpecialToken");
      }
      Json content = piece.get(piece.names().iterator().next());
      content.only(Set.of("id", "type_id"));
      int type = (int) content.get("type_id").integer(0, Integer.MAX_VALUE);
      Json id = content.get("id");
      if (piece.names().contains("Sequence")) {
        if (!sequences.contains(id.string())) {
          throw id.expected(sequences.size() == 1 ? "A" : "A or B");
        }
        layout.add(new int[] {id.string().equals("A") ? FIRST : SECOND, type});
        continue;
      }
      int[] ids = special.get(id.string());
      if (ids == null) {
        throw id.expected("one of the special_tokens");
      }
      for (int token : ids) {
        layout.add(new int[] {token, type});
      }
    }
    return Layout.of(layout);
  }
}

package dev.gatun.model;

import dev.gatun.internal.Json;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The tokens of a tokenizer.json, whose bytes are what its decoder makes of them: of the alphabet
 * of byte-level BPE (GPT-2, LLaMA 3, Qwen), or of SentencePiece's, with {@code ▁} for a space and
 * {@code <0x0A>} for a byte (LLaMA 2, Gemma).
 */
final class FileVocabulary implements TextVocabulary {

  /** What the tokenizer cuts to, whatever the positions. */
  private static final int MOST_TOKENS = 1 << 15;

  private static final byte[] NOTHING = {};

  private final Tokenizer tokenizer;
  private final boolean byteLevel;

  /** Whether the decoder takes away the space at the beginning of a text. */
  private boolean strips;

  private final Set<Integer> special = new HashSet<>();
  private final Map<Integer, String> added = new HashMap<>();
  private final Map<Character, Byte> alphabet = new HashMap<>();
  private final int begin;

  private FileVocabulary(Tokenizer tokenizer, Json document, int begin) {
    this.tokenizer = tokenizer;
    this.begin = begin;
    Set<String> decoders = new HashSet<>();
    Json decoder = document.find("decoder");
    collect(decoder, decoders);
    this.byteLevel = decoders.contains("ByteLevel");
    boolean sentencePiece = decoders.contains("Replace") || decoders.contains("Metaspace");
    if (byteLevel == sentencePiece
        || !Set.of("ByteLevel", "Replace", "Metaspace", "ByteFallback", "Fuse", "Strip")
            .containsAll(decoders)) {
      throw new IllegalArgumentException(
          "decoder: expected ByteLevel, Metaspace, or Replace with ByteFallback, got "
              + (decoders.isEmpty() ? "none" : decoders));
    }
    Json tokens = document.find("added_tokens");
    if (tokens != null && !tokens.isNull()) {
      for (Json token : tokens.elements()) {
        int id = (int) token.get("id").integer(0, Integer.MAX_VALUE);
        if (token.get("special").bool()) {
          special.add(id);
        } else {
          added.put(id, token.get("content").string());
        }
      }
    }
    int next = 256;
    for (int value = 0; value < 256; value++) {
      boolean printable =
          value >= '!' && value <= '~' || value >= 0xA1 && value <= 0xAC || value >= 0xAE;
      alphabet.put((char) (printable ? value : next++), (byte) value);
    }
  }

  private void collect(Json decoder, Set<String> types) {
    if (decoder == null || decoder.isNull()) {
      return;
    }
    String type = decoder.get("type").string();
    if (type.equals("Sequence")) {
      decoder.get("decoders").elements().forEach(each -> collect(each, types));
      return;
    }
    switch (type) {
      case "Replace" -> {
        if (!(decoder.get("pattern").find("String") instanceof Json pattern
            && pattern.string().equals("▁")
            && decoder.get("content").string().equals(" "))) {
          throw decoder.expected("▁ replaced by a space");
        }
      }
      case "Strip" -> {
        if (!decoder.get("content").string().equals(" ")
            || decoder.get("start").integer(0, Integer.MAX_VALUE) != 1) {
          throw decoder.expected("one space taken away at the start");
        }
        strips = true;
      }
      case "Metaspace" -> {
        if (!decoder.get("replacement").string().equals("▁")) {
          throw decoder.get("replacement").expected("▁");
        }
        boolean never =
            decoder.find("prepend_scheme").toString().equals("\"never\"")
                || !decoder.find("add_prefix_space").boolOr(true);
        strips |= !never;
      }
      default -> {}
    }
    types.add(type);
  }

  /**
   * Reads a file.
   *
   * @param begin the token of a beginning, for texts without any; or -1
   * @throws IOException naming the file if it is not what it should be
   */
  static FileVocabulary load(Path file, int begin) throws IOException {
    Tokenizer tokenizer = Tokenizer.load(file);
    Json document = Json.read(file);
    try {
      return new FileVocabulary(tokenizer, document, begin);
    } catch (IllegalArgumentException e) {
      throw Json.refused(file, e);
    }
  }

  @Override
  public int[] encode(String text, boolean first, int most) {
    Tokenized tokenized = tokenizer.encode(text, Math.clamp(most + 1L, 8, MOST_TOKENS));
    int[] ids = tokenized.ids();
    if (first && ids.length == 0 && begin >= 0) {
      ids = new int[] {begin};
    } else if (!first && ids.length > 0 && ids[0] == begin) {
      ids = Arrays.copyOfRange(ids, 1, ids.length);
    }
    if (tokenized.truncated() || ids.length > most) {
      throw new IllegalArgumentException(
          "prompt: expected at most %d tokens, got %d".formatted(most, tokenized.originalCount()));
    }
    return ids;
  }

  @Override
  public byte[] bytes(int token, int previous) {
    if (special.contains(token)) {
      return NOTHING;
    }
    String content = added.get(token);
    if (content != null) {
      return content.getBytes(StandardCharsets.UTF_8);
    }
    String text = tokenizer.tokens(token).getFirst();
    if (byteLevel) {
      return ofAlphabet(text);
    }
    int value = ByteTokens.value(text);
    if (value >= 0) {
      return new byte[] {(byte) value};
    }
    String plain = text.replace('▁', ' ');
    boolean leading =
        strips && previous == begin && special.contains(begin) && plain.startsWith(" ");
    return (leading ? plain.substring(1) : plain).getBytes(StandardCharsets.UTF_8);
  }

  private byte[] ofAlphabet(String text) {
    byte[] bytes = new byte[text.length()];
    for (int n = 0; n < bytes.length; n++) {
      Byte value = alphabet.get(text.charAt(n));
      if (value == null) {
        return text.getBytes(StandardCharsets.UTF_8);
      }
      bytes[n] = value;
    }
    return bytes;
  }

  @Override
  public int highestId() {
    return tokenizer.highestId();
  }

  /** The token numbers of a key of a configuration: none, one, or a list. */
  static List<Integer> numbers(Json config, String key) {
    Json value = config == null ? null : config.find(key);
    if (value == null || value.isNull()) {
      return List.of();
    }
    return value.toString().startsWith("[")
        ? value.elements().stream().map(each -> (int) each.integer(0, Integer.MAX_VALUE)).toList()
        : List.of((int) value.integer(0, Integer.MAX_VALUE));
  }
}

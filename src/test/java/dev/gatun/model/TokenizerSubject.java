package dev.gatun.model;

import dev.gatun.support.JsonMutations;
import dev.gatun.support.Mutations;
import dev.gatun.support.TokenizerFiles;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.random.RandomGenerator;

/** Changed tokenizer.json files, and texts for those that are tokenizers still. */
final class TokenizerSubject implements Mutations.Subject {

  private static final List<String> TEXTS =
      List.of(
          "",
          "The cat sat on a mat, don't 12345 [MASK] <mask>  <s>ab",
          " \t\n\u0000\u00a0\u3000\u200b\ufeff\u2028",
          "a".repeat(41) + "!",
          "ab ".repeat(200),
          "e\u0301\u0302\u0323 \u0301 ﬁ Å … ﷺ ① İ ß 日本語한국어 👩‍👩‍👧 🇩🇪 \ud800 \udc00",
          "<extra_id_0>  <|begin|>    <|end|>   <new> <|startoftext|>``\"▁▁the");

  /** What means something in such a file. */
  private static final List<String> WORDS = new ArrayList<>();

  static {
    WORDS.addAll(
        Arrays.asList(
            ("version truncation padding added_tokens normalizer pre_tokenizer post_processor"
                    + " decoder model direction max_length strategy stride Left Right LongestFirst"
                    + " OnlyFirst OnlySecond BatchLongest Fixed pad_to_multiple_of pad_id"
                    + " pad_type_id pad_token id content single_word lstrip rstrip normalized"
                    + " special type Sequence normalizers BertNormalizer clean_text"
                    + " handle_chinese_chars strip_accents lowercase Strip strip_left strip_right"
                    + " StripAccents NFC NFD NFKC NFKD Lowercase Nmt Precompiled"
                    + " precompiled_charsmap Replace pattern String Regex Prepend prepend"
                    + " ByteLevel add_prefix_space trim_offsets use_regex pretokenizers"
                    + " BertPreTokenizer Metaspace replacement prepend_scheme first never always"
                    + " split str_rep Whitespace WhitespaceSplit CharDelimiterSplit delimiter"
                    + " Split behavior invert Removed Isolated MergedWithPrevious MergedWithNext"
                    + " Contiguous Punctuation Digits individual_digits UnicodeScripts FixedLength"
                    + " length processors TemplateProcessing single pair special_tokens"
                    + " SpecialToken type_id A B ids tokens BertProcessing sep cls"
                    + " RobertaProcessing BPEDecoder suffix WordPiece prefix cleanup CTC Fuse"
                    + " ByteFallback decoders WordLevel BPE Unigram vocab merges dropout unk_token"
                    + " continuing_subword_prefix end_of_word_suffix fuse_unk byte_fallback"
                    + " ignore_merges max_input_chars_per_word unk_id 1.0 [UNK] [CLS] ## </w>"
                    + " <0x41> a b ab th Ġ ▁ ▁▁")
                .split(" ")));
    WORDS.addAll(
        List.of(
            "",
            " ",
            "  ",
            "\n",
            "\u0000",
            "\u0301",
            "é",
            "日",
            "😀",
            "a b",
            "(a|aa)+$",
            "\\s+",
            "\\p{N}",
            " {2,}",
            "a".repeat(300),
            TokenizerFiles.LLAMA3,
            TokenizerFiles.CHARSMAP,
            "AAAAAA=="));
  }

  @Override
  public List<byte[]> seeds() {
    return TokenizerFiles.all().values().stream()
        .map(json -> json.getBytes(StandardCharsets.UTF_8))
        .toList();
  }

  @Override
  public void read(byte[] bytes) {
    Tokenizer tokenizer = Tokenizer.load(bytes);
    for (String text : TEXTS) {
      for (int id : tokenizer.encode(text).ids()) {
        if (id < 0) {
          throw new AssertionError("id " + id);
        }
      }
      TokenSpans spans = tokenizer.encodeWithOffsets(text, Integer.MAX_VALUE);
      for (int i = 0; i < spans.count(); i++) {
        if (spans.sequences()[i] == 0) {
          text.substring(spans.begins()[i], spans.ends()[i]);
        }
      }
    }
    for (String text : TEXTS) {
      tokenizer.encodeWithOffsets(text, TEXTS.getLast(), tokenizer.maxTokens());
    }
  }

  @Override
  public boolean allows(Throwable thrown) {
    return thrown instanceof IllegalArgumentException;
  }

  @Override
  public byte[] change(byte[] bytes, List<byte[]> seeds, RandomGenerator random) {
    return random.nextInt(8) == 0
        ? Mutations.changeBytes(bytes, seeds, random)
        : JsonMutations.change(bytes, seeds, WORDS, random);
  }
}

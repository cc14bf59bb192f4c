package dev.gatun.model;

import dev.gatun.model.Checkpoint.Maker;
import dev.gatun.model.FolderInspection.Kind;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.SequenceClassifier;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TokenScorer;
import java.io.IOException;
import java.util.EnumSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * The families that a folder may be of, a row for each {@code model_type} of config.json. A class
 * for each table, so that the JVM makes the rows of one only.
 */
final class Families {

  /** From tokens to hidden states. */
  private static final class Encoders {
    static final Map<String, Maker<TextEncoder>> ROWS =
        new TreeMap<>(
            Map.ofEntries(
                Map.entry("albert", Albert::load),
                Map.entry(
                    "bert",
                    c -> JinaBert.describes(c.config()) ? JinaBert.load(c) : BertFiles.load(c)),
                Map.entry("camembert", BertFiles::load),
                Map.entry("distilbert", BertFiles::load),
                Map.entry("electra", Electra::load),
                Map.entry("gte", GteEncoder::load),
                Map.entry("llama", c -> Llama.files(c).encoder()),
                Map.entry("megatron-bert", MegatronBert::load),
                Map.entry("mistral", c -> Mistral.files(c).encoder()),
                Map.entry("modernbert", ModernBert::load),
                Map.entry("mpnet", Mpnet::load),
                Map.entry("new", GteEncoder::load),
                Map.entry("nomic_bert", NomicBert::load),
                Map.entry("qwen2", c -> Qwen2.files(c).encoder()),
                Map.entry("qwen3", c -> Qwen3.files(c).encoder()),
                Map.entry("roberta", BertFiles::load),
                Map.entry("t5", T5::load),
                Map.entry("xlm-roberta", BertFiles::load)));
  }

  /** From tokens to scores of the next one. */
  private static final class Decoders {
    static final Map<String, Maker<DecoderOnlyModel>> ROWS =
        new TreeMap<>(
            Map.ofEntries(
                Map.entry("gemma", c -> Gemma.files(c).decoder()),
                Map.entry("gemma2", c -> Gemma2.files(c).decoder()),
                Map.entry("gemma3", c -> Gemma3.textOf(c).decoder()),
                Map.entry("gemma3_text", c -> Gemma3.files(c).decoder()),
                Map.entry("gpt2", Gpt2::load),
                Map.entry("llama", c -> Llama.files(c).decoder()),
                Map.entry("mamba", MambaFiles::load),
                Map.entry("mamba2", Mamba2Files::load),
                Map.entry("mistral", c -> Mistral.files(c).decoder()),
                Map.entry("phi3", c -> Phi3.files(c).decoder()),
                Map.entry("qwen2", c -> Qwen2.files(c).decoder()),
                Map.entry("qwen3", c -> Qwen3.files(c).decoder()),
                Map.entry("smollm3", c -> SmolLm3.files(c).decoder())));
  }

  /** From tokens to scores of what may stand in their places. */
  private static final class Masked {
    static final Map<String, Maker<TokenScorer>> ROWS =
        new TreeMap<>(
            Map.of(
                "albert", MaskedHeads::albert,
                "bert", MaskedHeads::bert,
                "camembert", MaskedHeads::roberta,
                "distilbert", MaskedHeads::distilBert,
                "electra", MaskedHeads::electra,
                "megatron-bert", MaskedHeads::bert,
                "modernbert", ModernBertHeads::masked,
                "mpnet", MaskedHeads::roberta,
                "roberta", MaskedHeads::roberta,
                "xlm-roberta", MaskedHeads::roberta));
  }

  /** From tokens to the scores of a text, or of a pair. */
  private static final class Classifiers {
    static final Map<String, Maker<SequenceClassifier>> ROWS =
        new TreeMap<>(
            Map.of(
                "albert", ClassifierFiles::albert,
                "bert", ClassifierFiles::bert,
                "camembert", ClassifierFiles::roberta,
                "distilbert", ClassifierFiles::distilbert,
                "electra", ClassifierFiles::electra,
                "megatron-bert", ClassifierFiles::bert,
                "modernbert", ModernBertHeads::texts,
                "mpnet", ClassifierFiles::roberta,
                "roberta", ClassifierFiles::roberta,
                "xlm-roberta", ClassifierFiles::roberta));
  }

  /** From tokens to the scores of each. */
  private static final class TokenClassifiers {
    static final Map<String, Maker<TokenScorer>> ROWS =
        new TreeMap<>(
            Map.of(
                "albert", ClassifierFiles::tokens,
                "bert", ClassifierFiles::tokens,
                "camembert", ClassifierFiles::tokens,
                "distilbert", ClassifierFiles::tokens,
                "electra", ClassifierFiles::tokens,
                "megatron-bert", ClassifierFiles::tokens,
                "modernbert", ModernBertHeads::tokens,
                "mpnet", ClassifierFiles::tokens,
                "roberta", ClassifierFiles::tokens,
                "xlm-roberta", ClassifierFiles::tokens));
  }

  /** Classifiers of images. */
  private static final class Images {
    static final Map<String, Maker<Vit>> ROWS = Map.of("vit", Vit::load);
  }

  /** Models that compare images and texts. */
  private static final class Comparers {
    static final Map<String, Maker<Clip>> ROWS = Map.of("clip", Clip::load);
  }

  private Families() {}

  /**
   * Loads an encoder.
   *
   * @throws IOException if the family is none of these, or the folder not what it should be
   */
  static TextEncoder encoder(Checkpoint checkpoint) throws IOException {
    return load(Kind.EMBEDDER, Encoders.ROWS, checkpoint);
  }

  /**
   * Loads a decoder.
   *
   * @throws IOException if the family is none of these, or the folder not what it should be
   */
  static DecoderOnlyModel decoder(Checkpoint checkpoint) throws IOException {
    return load(Kind.LANGUAGE_MODEL, Decoders.ROWS, checkpoint);
  }

  /**
   * Loads a masked language model.
   *
   * @throws IOException if the family is none of these, or the folder not what it should be
   */
  static TokenScorer masked(Checkpoint checkpoint) throws IOException {
    return load(Kind.MASKED_LANGUAGE_MODEL, Masked.ROWS, checkpoint);
  }

  /**
   * Checks that a folder is a decoder's, before anything is packed.
   *
   * @throws IOException if the family is none of these
   */
  static void requireDecoder(Checkpoint checkpoint) throws IOException {
    checkpoint.make(c -> row(Decoders.ROWS, c));
  }

  /**
   * Loads a classifier of tokens.
   *
   * @throws IOException if the family is none of these, or the folder not what it should be
   */
  static TokenScorer tokenClassifier(Checkpoint checkpoint) throws IOException {
    return load(Kind.TOKEN_CLASSIFIER, TokenClassifiers.ROWS, checkpoint);
  }

  /**
   * Loads a classifier of texts.
   *
   * @throws IOException if the family is none of these, or the folder not what it should be
   */
  static SequenceClassifier classifier(Checkpoint checkpoint) throws IOException {
    return load(Kind.TEXT_CLASSIFIER, Classifiers.ROWS, checkpoint);
  }

  /**
   * Loads a classifier of images.
   *
   * @throws IOException if the family is none of these, or the folder not what it should be
   */
  static Vit vit(Checkpoint checkpoint) throws IOException {
    return load(Kind.IMAGE_CLASSIFIER, Images.ROWS, checkpoint);
  }

  /**
   * Loads a model that compares images and texts.
   *
   * @throws IOException if the family is none of these, or the folder not what it should be
   */
  static Clip clip(Checkpoint checkpoint) throws IOException {
    return load(Kind.IMAGES_AND_TEXTS, Comparers.ROWS, checkpoint);
  }

  /** What a folder of a family may be loaded as; nothing of one that is not known. */
  static Set<Kind> kinds(String family) {
    Set<Kind> kinds = EnumSet.noneOf(Kind.class);
    if (Encoders.ROWS.containsKey(family)) {
      kinds.add(Kind.EMBEDDER);
    }
    if (Decoders.ROWS.containsKey(family)) {
      kinds.add(Kind.LANGUAGE_MODEL);
    }
    if (Images.ROWS.containsKey(family)) {
      kinds.add(Kind.IMAGE_CLASSIFIER);
    }
    if (Comparers.ROWS.containsKey(family)) {
      kinds.add(Kind.IMAGES_AND_TEXTS);
    }
    return kinds;
  }

  private static <T> T load(Kind kind, Map<String, Maker<T>> rows, Checkpoint checkpoint)
      throws IOException {
    return checkpoint.make(
        c -> {
          PackedFile packed = WeightView.find(c.weights(), PackedFile.class);
          if (packed == null) {
            return row(rows, c).make(c);
          }
          packed.requireKind(kind);
          T made = row(rows, c).make(c);
          packed.refuseUntaken();
          return made;
        });
  }

  private static <T> Maker<T> row(Map<String, Maker<T>> rows, Checkpoint checkpoint) {
    FamilyConfig config = checkpoint.config();
    Maker<T> row = config.has("model_type") ? rows.get(config.text("model_type", "")) : null;
    if (row == null) {
      throw config.expected("model_type", "one of " + String.join(", ", rows.keySet()));
    }
    return row;
  }
}

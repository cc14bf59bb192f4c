package dev.gatun.model;

import dev.gatun.model.Checkpoint.Maker;
import dev.gatun.nn.DecoderOnlyModel;
import dev.gatun.nn.SequenceClassifier;
import dev.gatun.nn.TextEncoder;
import dev.gatun.nn.TokenScorer;
import java.io.IOException;
import java.util.EnumSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/** The families that a folder may be of, a row for each {@code model_type} of config.json. */
final class Families {

  /** From tokens to hidden states. */
  private static final Map<String, Maker<TextEncoder>> ENCODERS =
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

  /** From tokens to scores of the next one. */
  private static final Map<String, Maker<DecoderOnlyModel>> DECODERS =
      new TreeMap<>(
          Map.ofEntries(
              Map.entry("gemma", c -> Gemma.files(c).decoder()),
              Map.entry("gemma2", c -> Gemma2.files(c).decoder()),
              Map.entry("gemma3_text", c -> Gemma3.files(c).decoder()),
              Map.entry("gpt2", Gpt2::load),
              Map.entry("llama", c -> Llama.files(c).decoder()),
              Map.entry("mamba", MambaFiles::load),
              Map.entry("mistral", c -> Mistral.files(c).decoder()),
              Map.entry("phi3", c -> Phi3.files(c).decoder()),
              Map.entry("qwen2", c -> Qwen2.files(c).decoder()),
              Map.entry("qwen3", c -> Qwen3.files(c).decoder()),
              Map.entry("smollm3", c -> SmolLm3.files(c).decoder())));

  /** From tokens to scores of what may stand in their places. */
  private static final Map<String, Maker<TokenScorer>> MASKED =
      new TreeMap<>(
          Map.of(
              "bert", MaskedHeads::bert,
              "camembert", MaskedHeads::roberta,
              "distilbert", MaskedHeads::distilBert,
              "roberta", MaskedHeads::roberta,
              "xlm-roberta", MaskedHeads::roberta));

  /** From tokens to the scores of a text, or of a pair. */
  private static final Map<String, Maker<SequenceClassifier>> CLASSIFIERS =
      new TreeMap<>(
          Map.of(
              "bert", ClassifierFiles::bert,
              "camembert", ClassifierFiles::roberta,
              "distilbert", ClassifierFiles::distilbert,
              "roberta", ClassifierFiles::roberta,
              "xlm-roberta", ClassifierFiles::roberta));

  /** From tokens to the scores of each. */
  private static final Map<String, Maker<TokenScorer>> TOKEN_CLASSIFIERS =
      new TreeMap<>(
          Map.of(
              "bert", ClassifierFiles::tokens,
              "camembert", ClassifierFiles::tokens,
              "distilbert", ClassifierFiles::tokens,
              "roberta", ClassifierFiles::tokens,
              "xlm-roberta", ClassifierFiles::tokens));

  /** Classifiers of images. */
  private static final Map<String, Maker<Vit>> IMAGES = Map.of("vit", Vit::load);

  /** Models that compare images and texts. */
  private static final Map<String, Maker<Clip>> COMPARERS = Map.of("clip", Clip::load);

  private Families() {}

  /**
   * Loads an encoder.
   *
   * @throws IOException if the family is none of these, or the folder not what it should be
   */
  static TextEncoder encoder(Checkpoint checkpoint) throws IOException {
    return checkpoint.make(c -> row(ENCODERS, c).make(c));
  }

  /**
   * Loads a decoder.
   *
   * @throws IOException if the family is none of these, or the folder not what it should be
   */
  static DecoderOnlyModel decoder(Checkpoint checkpoint) throws IOException {
    return checkpoint.make(c -> row(DECODERS, c).make(c));
  }

  /**
   * Loads a masked language model.
   *
   * @throws IOException if the family is none of these, or the folder not what it should be
   */
  static TokenScorer masked(Checkpoint checkpoint) throws IOException {
    return checkpoint.make(c -> row(MASKED, c).make(c));
  }

  /**
   * Checks that a folder is a decoder's, before anything is packed.
   *
   * @throws IOException if the family is none of these
   */
  static void requireDecoder(Checkpoint checkpoint) throws IOException {
    checkpoint.make(c -> row(DECODERS, c));
  }

  /**
   * Loads a classifier of tokens.
   *
   * @throws IOException if the family is none of these, or the folder not what it should be
   */
  static TokenScorer tokenClassifier(Checkpoint checkpoint) throws IOException {
    return checkpoint.make(c -> row(TOKEN_CLASSIFIERS, c).make(c));
  }

  /**
   * Loads a classifier of texts.
   *
   * @throws IOException if the family is none of these, or the folder not what it should be
   */
  static SequenceClassifier classifier(Checkpoint checkpoint) throws IOException {
    return checkpoint.make(c -> row(CLASSIFIERS, c).make(c));
  }

  /**
   * Loads a classifier of images.
   *
   * @throws IOException if the family is none of these, or the folder not what it should be
   */
  static Vit vit(Checkpoint checkpoint) throws IOException {
    return checkpoint.make(c -> row(IMAGES, c).make(c));
  }

  /**
   * Loads a model that compares images and texts.
   *
   * @throws IOException if the family is none of these, or the folder not what it should be
   */
  static Clip clip(Checkpoint checkpoint) throws IOException {
    return checkpoint.make(c -> row(COMPARERS, c).make(c));
  }

  /** What a folder of a family may be loaded as; nothing of one that is not known. */
  static Set<FolderInspection.Kind> kinds(String family) {
    Set<FolderInspection.Kind> kinds = EnumSet.noneOf(FolderInspection.Kind.class);
    if (ENCODERS.containsKey(family)) {
      kinds.add(FolderInspection.Kind.EMBEDDER);
    }
    if (DECODERS.containsKey(family)) {
      kinds.add(FolderInspection.Kind.LANGUAGE_MODEL);
    }
    if (IMAGES.containsKey(family)) {
      kinds.add(FolderInspection.Kind.IMAGE_CLASSIFIER);
    }
    if (COMPARERS.containsKey(family)) {
      kinds.add(FolderInspection.Kind.IMAGES_AND_TEXTS);
    }
    return kinds;
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

package dev.gatun.cli.compare;

import dev.gatun.Attention;
import dev.gatun.AttentionOptions;
import dev.gatun.AttentionSpec;
import dev.gatun.BlockMasks;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import java.lang.foreign.Arena;

/** The exact call of the library: as it is, without its scale, and under sparse masks. */
enum ExactSystem implements CompareSystem {
  /** Everything else is compared with it. */
  EXACT("exact", Kin.EXACT, "softmax(QKᵀ/√d)V by tiles: FlashAttention"),

  UNSCALED("unscaled", Kin.OTHER, "softmax(QKᵀ)V: the scale 1/√d is missing") {
    @Override
    AttentionSpec spec(Setting setting) {
      return AttentionSpec.builder().scale(1).build();
    }
  },

  /** Longformer's: Beltagy et al., 2020, section 3.1. */
  WINDOW("window", Kin.APPROXIMATION, "keys near a row, and global tokens, by a mask: Longformer") {
    @Override
    AttentionSpec spec(Setting setting) {
      return AttentionSpec.builder()
          .window(setting.window(), setting.window())
          .globalTokens(GLOBAL_TOKENS)
          .build();
    }

    @Override
    double keys(Setting setting) {
      double n = setting.length();
      double near = 2.0 * setting.window() + 1 + GLOBAL_TOKENS;
      return Math.min(n, near + GLOBAL_TOKENS); // the last term: rows of global tokens see all
    }

    @Override
    public long pathLength(Setting setting) {
      return setting.window() >= setting.length() ? 1 : 2; // by way of a global token
    }
  },

  /** BigBird's: Zaheer et al., 2020, section 2. */
  BLOCK_SPARSE(
      "block-sparse",
      Kin.APPROXIMATION,
      "blocks beside a row's, global ones and random ones, by a mask: BigBird") {
    @Override
    AttentionOptions options(Setting setting, Arena arena) {
      return new AttentionOptions().blockMask(blocks(setting, arena), BLOCK, BLOCK);
    }

    @Override
    double keys(Setting setting) {
      double n = setting.length();
      return Math.min(n, BLOCK * (3.0 + RANDOM_BLOCKS + 2 * GLOBAL_BLOCKS));
    }

    @Override
    public long pathLength(Setting setting) {
      return keys(setting) >= setting.length() ? 1 : 2;
    }

    @Override
    public double bytes(Setting setting) {
      return Math.pow(blockCount(setting), 2) + super.bytes(setting);
    }
  };

  /** Those at the beginning, which see all and which all see. */
  static final int GLOBAL_TOKENS = 16;

  private static final int BLOCK = 64;
  private static final int GLOBAL_BLOCKS = 2;
  private static final int RANDOM_BLOCKS = 3;

  /** Tiles of all threads are below it. */
  private static final double TILES = 16 << 20;

  private final String word;
  private final Kin kin;
  private final String what;

  ExactSystem(String word, Kin kin, String what) {
    this.word = word;
    this.kin = kin;
    this.what = what;
  }

  AttentionSpec spec(Setting setting) {
    return AttentionSpec.standard();
  }

  /** Null: none. */
  AttentionOptions options(Setting setting, Arena arena) {
    return null;
  }

  /** That a row sees on average. */
  double keys(Setting setting) {
    return setting.length();
  }

  private static long blockCount(Setting setting) {
    return Math.ceilDiv(setting.length(), (long) BLOCK);
  }

  private static Tensor blocks(Setting setting, Arena arena) {
    return BlockMasks.bigBird((int) blockCount(setting), Inputs.SEED).build(arena);
  }

  // ---- the row ---------------------------------------------------------------------------------

  @Override
  public String word() {
    return word;
  }

  @Override
  public Kin kin() {
    return kin;
  }

  @Override
  public String what() {
    return what;
  }

  @Override
  public long serialSteps(Setting setting) {
    return 1;
  }

  @Override
  public long pathLength(Setting setting) {
    return 1;
  }

  @Override
  public double flops(Setting setting) {
    return 4.0 * setting.headDim() * setting.heads() * setting.length() * keys(setting);
  }

  @Override
  public double bytes(Setting setting) {
    return TILES;
  }

  @Override
  public final Runnable prepare(GatunRuntime runtime, Inputs inputs, Arena arena) {
    Attention attention = runtime.attention(spec(inputs.setting));
    AttentionOptions options = options(inputs.setting, arena);
    return options == null
        ? () -> attention.forward(inputs.q, inputs.k, inputs.v, inputs.out)
        : () -> attention.forward(inputs.q, inputs.k, inputs.v, inputs.out, options);
  }
}

package dev.gatun.cli;

import dev.gatun.Causal;
import dev.gatun.Tier;
import dev.gatun.cli.ExplainCommand.Shape;
import dev.gatun.cli.HeatmapCommand.Reduce;
import dev.gatun.cli.KernelOptions.Layout;
import dev.gatun.cli.MaskOptions.Block;
import dev.gatun.cli.MaskOptions.Window;
import dev.gatun.internal.Native;
import dev.gatun.model.FolderInspection.Kind;
import dev.gatun.model.OnTooLong;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import picocli.CommandLine;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** From the text of an option to its value, with everything else refused. */
final class Converters {
  private Converters() {}

  /** For options of these types that name no converter of their own. */
  static void register(CommandLine command) {
    command
        .registerConverter(Path.class, Converters::file)
        .registerConverter(Shape.class, Converters::shape)
        .registerConverter(Window.class, Converters::window)
        .registerConverter(Block.class, Converters::block)
        .registerConverter(
            Causal.class,
            words(Map.of("bottom-right", Causal.BOTTOM_RIGHT, "top-left", Causal.TOP_LEFT)))
        .registerConverter(Reduce.class, words(Map.of("mean", Reduce.MEAN, "max", Reduce.MAX)))
        .registerConverter(
            Kind.class,
            words(
                Arrays.stream(Kind.values())
                    .filter(kind -> !kind.ofImages())
                    .collect(Collectors.toMap(InspectCommand::word, kind -> kind))))
        .registerConverter(
            OnTooLong.class,
            words(Map.of("cut", OnTooLong.CUT, "fail", OnTooLong.FAIL, "chunk", OnTooLong.CHUNK)))
        .registerConverter(
            OutputType.class,
            words(
                Arrays.stream(OutputType.values())
                    .collect(Collectors.toMap(OutputType::toString, t -> t))))
        .registerConverter(Layout.class, words(Map.of("bshd", Layout.BSHD, "bhsd", Layout.BHSD)))
        .registerConverter(
            Tier.class,
            words(Arrays.stream(Tier.values()).collect(Collectors.toMap(Tier::toString, t -> t))));
  }

  /** A file name, used as it is given. */
  private static Path file(String text) {
    if (text.isEmpty()) {
      throw new TypeConversionException("expected a file name, got an empty one");
    }
    try {
      return Path.of(text);
    } catch (InvalidPathException e) {
      throw new TypeConversionException("'" + text + "' is no file name here: " + e.getReason());
    }
  }

  /** 1 … 1024. */
  static final class Threads implements ITypeConverter<Integer> {
    @Override
    public Integer convert(String text) {
      if (text.matches("[0-9]{1,4}")) {
        int threads = Integer.parseInt(text);
        if (threads >= 1 && threads <= 1024) {
          return threads;
        }
      }
      throw new TypeConversionException("expected 1 .. 1024, got '" + text + "'");
    }
  }

  /** A finite decimal number: neither "1f" nor "0x1p3" nor "NaN", which Java would take too. */
  private static double number(String text) {
    if (!DECIMAL.matcher(text).matches()) {
      throw new TypeConversionException("expected a finite decimal number, got '" + text + "'");
    }
    return Double.parseDouble(text);
  }

  private static final Pattern DECIMAL =
      Pattern.compile("[-+]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][-+]?[0-9]+)?");

  /** A finite float32. */
  static final class Scale implements ITypeConverter<Float> {
    @Override
    public Float convert(String text) {
      double number = number(text);
      float scale = Float.parseFloat(text); // not (float) number, which would round twice
      if (!Float.isFinite(scale) || (scale == 0 && number != 0)) {
        throw new TypeConversionException(
            "expected a number within the range of float32, got '" + text + "'");
      }
      return scale;
    }
  }

  /** A finite number that is not negative. */
  static final class Tolerance implements ITypeConverter<Double> {
    @Override
    public Double convert(String text) {
      double tolerance = number(text);
      if (!Double.isFinite(tolerance) || tolerance < 0) {
        throw new TypeConversionException("expected a finite number >= 0, got '" + text + "'");
      }
      return tolerance;
    }
  }

  /** Six sizes that attention takes: batch, heads, kvHeads, seqQ, seqK, headDim. */
  private static final String[] NAMES = {"batch", "heads", "kvHeads", "seqQ", "seqK", "headDim"};

  private static final int[] LEAST = {0, 1, 1, 0, 0, 1};
  private static final Pattern SIZES = Pattern.compile("[0-9]{1,18}(,[0-9]{1,18}){5}");

  private static Shape shape(String text) {
    if (!SIZES.matcher(text).matches()) {
      throw new TypeConversionException(
          "expected six whole numbers with commas between them, got '" + text + "'");
    }
    long[] sizes = Arrays.stream(text.split(",")).mapToLong(Long::parseLong).toArray();
    for (int i = 0; i < sizes.length; i++) {
      int most = NAMES[i].equals("headDim") ? Native.Abi.MAX_HEAD_DIM : Integer.MAX_VALUE;
      if (sizes[i] < LEAST[i] || sizes[i] > most) {
        throw new TypeConversionException(
            "expected %s in %d .. %d, got %d in '%s'"
                .formatted(NAMES[i], LEAST[i], most, sizes[i], text));
      }
    }
    if (sizes[1] % sizes[2] != 0) {
      throw new TypeConversionException(
          "expected kvHeads that divide the %d heads, got %d in '%s'"
              .formatted(sizes[1], sizes[2], text));
    }
    return new Shape(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]);
  }

  private static final Pattern WINDOW = Pattern.compile("(-1|[0-9]{1,9}),(-1|[0-9]{1,9})");

  private static Window window(String text) {
    Matcher matcher = WINDOW.matcher(text);
    if (!matcher.matches()) {
      throw new TypeConversionException(
          "expected two whole numbers, each -1 .. 999999999, with a comma between them, got '"
              + text
              + "'");
    }
    return new Window(Integer.parseInt(matcher.group(1)), Integer.parseInt(matcher.group(2)));
  }

  private static final Pattern BLOCK = Pattern.compile("([0-9]{1,9}),([0-9]{1,9})");

  private static Block block(String text) {
    Matcher matcher = BLOCK.matcher(text);
    if (matcher.matches()) {
      int rows = Integer.parseInt(matcher.group(1));
      int keys = Integer.parseInt(matcher.group(2));
      if (rows > 0 && keys > 0) {
        return new Block(rows, keys);
      }
    }
    throw new TypeConversionException(
        "expected two whole numbers, each 1 .. 999999999, with a comma between them, got '"
            + text
            + "'");
  }

  /** A number of tokens. */
  static final class Tokens implements ITypeConverter<Integer> {
    @Override
    public Integer convert(String text) {
      if (!text.matches("[0-9]{1,9}")) {
        throw new TypeConversionException("expected 0 .. 999999999, got '" + text + "'");
      }
      return Integer.parseInt(text);
    }
  }

  /** One of a few words. */
  private static <T> ITypeConverter<T> words(Map<String, T> values) {
    return text -> {
      T value = values.get(text);
      if (value == null) {
        String words = values.keySet().stream().sorted().collect(Collectors.joining(", "));
        throw new TypeConversionException("expected one of " + words + ", got '" + text + "'");
      }
      return value;
    };
  }
}

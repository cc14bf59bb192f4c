package dev.gatun.cli;

import com.fasterxml.jackson.jr.ob.JSON;
import dev.gatun.GatunRuntime;
import dev.gatun.cli.compare.CompareSystem;
import dev.gatun.cli.compare.Comparison;
import dev.gatun.cli.compare.Limits;
import dev.gatun.cli.compare.Markdown;
import dev.gatun.cli.compare.PlotLibraries;
import dev.gatun.cli.compare.Plots;
import dev.gatun.cli.compare.Report;
import dev.gatun.cli.compare.Saturation;
import dev.gatun.cli.compare.Setting;
import dev.gatun.cli.compare.Systems;
import dev.gatun.internal.Messages;
import dev.gatun.internal.Native;
import dev.gatun.io.FileOutput;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.TypeConversionException;

/** {@code gatun compare}: exact attention, its ancestor and its relatives side by side. */
@Command(
    name = "compare",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    header = "Measures exact attention and its relatives, by length: time, memory, error.",
    sortOptions = false,
    description = {
      "",
      "Runs each system at each length and prints tables in Markdown: the median time of runs in"
          + " turn, by how much a call makes a process grow, the relative error against exact"
          + " attention, how many steps have to wait for each other, and the length from which on"
          + " an approximation is faster than exact attention on this machine. A system that"
          + " would take more than a limit at a length is not run there, and the table says so."
          + " With all lengths it takes some minutes, on a machine that does nothing else.",
      ""
    })
final class CompareCommand implements Callable<Integer> {
  /** Lengths with commas between them, made ascending by whoever types them. */
  static final class Lengths implements ITypeConverter<List<Integer>> {
    private static final int MOST = 1 << 24;

    @Override
    public List<Integer> convert(String text) {
      List<Integer> lengths = new ArrayList<>();
      for (String part : text.split(",", -1)) {
        int length = part.matches("[0-9]{1,8}") ? Integer.parseInt(part) : 0;
        if (length < 1 || length > MOST || !lengths.isEmpty() && length <= lengths.getLast()) {
          throw new TypeConversionException(
              "expected ascending lengths in 1 .. %d with commas between them, got '%s'"
                  .formatted(MOST, text));
        }
        lengths.add(length);
      }
      return lengths;
    }
  }

  /** Names with commas between them. */
  static final class Names implements ITypeConverter<List<CompareSystem>> {
    @Override
    public List<CompareSystem> convert(String text) {
      List<String> words = List.of(text.split(",", -1));
      for (String word : words) {
        if (Systems.of(word) == null || words.indexOf(word) != words.lastIndexOf(word)) {
          throw new TypeConversionException(
              "expected some of %s, each once, with commas between them, got '%s'"
                  .formatted(Systems.words(), text));
        }
      }
      return Systems.all().stream().filter(system -> words.contains(system.word())).toList();
    }
  }

  /** A whole number from 1 on. */
  private static class Range implements ITypeConverter<Integer> {
    private final int most;

    Range(int most) {
      this.most = most;
    }

    @Override
    public Integer convert(String text) {
      int number = text.matches("[0-9]{1,6}") ? Integer.parseInt(text) : 0;
      if (number < 1 || number > most) {
        throw new TypeConversionException("expected 1 .. %d, got '%s'".formatted(most, text));
      }
      return number;
    }
  }

  /** Heads, keys, MiB. */
  static final class Size extends Range {
    Size() {
      super(999_999);
    }
  }

  /** What kernels take. */
  static final class HeadDim extends Range {
    HeadDim() {
      super(Native.Abi.MAX_HEAD_DIM);
    }
  }

  /** What kernels take. */
  static final class Features extends Range {
    Features() {
      super(Native.Abi.MAX_FEATURES);
    }
  }

  @Option(
      names = "--lengths",
      paramLabel = "N,…",
      converter = Lengths.class,
      defaultValue = "128,256,512,1024,2048,4096,8192,16384,32768,65536",
      description = "Tokens of the sequence, ascending; ${DEFAULT-VALUE} without this option.")
  private List<Integer> lengths;

  @Option(
      names = "--systems",
      paramLabel = "NAME,…",
      converter = Names.class,
      description = "Only these; all without this option. The tables have their names.")
  private List<CompareSystem> systems = Systems.all();

  @Option(
      names = "--heads",
      paramLabel = "H",
      converter = Size.class,
      defaultValue = "1",
      description = "Heads; ${DEFAULT-VALUE} without this option.")
  private int heads;

  @Option(
      names = "--head-dim",
      paramLabel = "D",
      converter = HeadDim.class,
      defaultValue = "64",
      description = "Elements of a head, 1 .. 512; ${DEFAULT-VALUE} without this option.")
  private int headDim;

  @Option(
      names = "--features",
      paramLabel = "M",
      converter = Features.class,
      defaultValue = "256",
      description =
          "Random features of Performer, and rows that Linformer makes of the keys, 1 .. 4096;"
              + " ${DEFAULT-VALUE} without this option.")
  private int features;

  @Option(
      names = "--window",
      paramLabel = "W",
      converter = Size.class,
      defaultValue = "256",
      description =
          "Keys on each side that a row of the sliding window sees; ${DEFAULT-VALUE} without this"
              + " option.")
  private int window;

  @Option(
      names = "--most-memory",
      paramLabel = "MIB",
      converter = Size.class,
      defaultValue = "4096",
      description =
          "What a system may take beyond inputs and outputs, in MiB; ${DEFAULT-VALUE} without this"
              + " option.")
  private int mostMemory;

  @Option(
      names = "--most-seconds",
      paramLabel = "S",
      converter = Converters.Tolerance.class,
      defaultValue = "60",
      description = "What a call may take, in seconds; ${DEFAULT-VALUE} without this option.")
  private double mostSeconds;

  @Option(
      names = "--no-memory",
      description = "Do not measure memory, which takes a process for each length and system.")
  private boolean noMemory;

  @Mixin private ThreadsOption threads;

  @Option(
      names = "--out",
      paramLabel = "DIR",
      description =
          "Also write the tables (compare.md), the numbers (compare.json) and plots (PNG and SVG)"
              + " into this folder, which is made if there is none.")
  private Path out;

  @Option(names = "--json", description = "Print a JSON object instead of Markdown.")
  private boolean json;

  @Option(names = "--quiet", description = "Show no progress.")
  private boolean quiet;

  @ParentCommand private Main main;

  @Override
  public Integer call() throws IOException {
    if (out != null) {
      String missing = PlotLibraries.missing();
      if (missing != null) {
        throw new CliException("--out %s: plots need %s".formatted(out, missing));
      }
      try {
        Files.createDirectories(out);
      } catch (IOException e) {
        throw CliException.of("--out", out, e);
      }
    }
    Streams streams = main.streams();
    try (Progress progress = new Progress(streams, !quiet, "comparing");
        GatunRuntime runtime = threads.open()) {
      Setting setting = new Setting(lengths.getLast(), heads, headDim, features, window);
      Limits limits = new Limits(mostMemory * 0x1p20, mostSeconds);
      var rows =
          new Comparison(runtime, systems, limits, !noMemory, progress::set).run(lengths, setting);
      progress.set("saturation of the softmax");
      Report report =
          new Report(command(), runtime, systems, setting, limits, rows, Saturation.all());
      if (out != null) {
        progress.set("writing " + out);
        write(report);
      }
      String text = json ? json(report) : Markdown.of(report, false).stripTrailing();
      progress.beside(() -> streams.out().println(text));
    }
    return Main.OK;
  }

  private static String json(Report report) throws IOException {
    return JSON.std
        .with(JSON.Feature.PRETTY_PRINT_OUTPUT, JSON.Feature.WRITE_NULL_PROPERTIES)
        .asString(report.json());
  }

  private void write(Report report) throws IOException {
    Map<String, byte[]> files = new LinkedHashMap<>(Plots.of(report));
    files.put("compare.md", Markdown.of(report, true).getBytes(StandardCharsets.UTF_8));
    files.put("compare.json", (json(report) + "\n").getBytes(StandardCharsets.UTF_8));
    for (Map.Entry<String, byte[]> file : files.entrySet()) {
      Path path = out.resolve(file.getKey());
      try (FileOutput output = FileOutput.create(path)) {
        output.write(file.getValue());
        output.commit();
      } catch (IOException e) {
        throw CliException.of("--out", path, e);
      }
    }
  }

  /** What made these numbers, without names of folders. */
  private String command() {
    StringBuilder command = new StringBuilder("gatun compare --lengths ");
    command.append(String.join(",", lengths.stream().map(String::valueOf).toList()));
    if (systems.size() < Systems.all().size()) {
      command.append(" --systems ");
      command.append(String.join(",", systems.stream().map(CompareSystem::word).toList()));
    }
    command.append(" --heads ").append(heads).append(" --head-dim ").append(headDim);
    command.append(" --features ").append(features).append(" --window ").append(window);
    command.append(noMemory ? " --no-memory" : "");
    if (threads.threads != null) {
      command.append(" --threads ").append(threads.threads);
    }
    return Messages.line(command.toString());
  }
}

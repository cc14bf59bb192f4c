package dev.gatun.cli;

import dev.gatun.GatunException;
import dev.gatun.internal.Messages;
import dev.gatun.internal.Native;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExecutionException;
import picocli.CommandLine.HelpCommand;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/**
 * The command {@code gatun}. Results go to standard output. A mistake of the caller is one line on
 * standard error and exit code 2; a result that is not as it should be, or a failure that is
 * nobody's mistake, is exit code 1.
 */
@Command(
    name = "gatun",
    description =
        "FlashAttention on the CPU: exact attention on files, and proof that it is exact.",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    subcommands = {
      InfoCommand.class,
      InspectCommand.class,
      AttendCommand.class,
      HeatmapCommand.class,
      CompareCommand.class,
      ExplainCommand.class,
      EmbedCommand.class,
      SimilarCommand.class,
      GenerateCommand.class,
      FillCommand.class,
      PackCommand.class,
      RerankCommand.class,
      ClassifyCommand.class,
      VerifyCommand.class,
      HelpCommand.class
    },
    exitCodeListHeading = "%nExit codes:%n",
    exitCodeList = {
      "0:done",
      "1:a comparison failed, or the machine did",
      "2:wrong options, an input that cannot be used, or an output that cannot be written"
    },
    footer = {
      "",
      "Environment: GATUN_ISA=portable|neon|avx2|avx512 chooses the kernels, GATUN_CLASS_PATH says"
          + " where jars of models are, GATUN_DEBUG=1 prints stack traces."
    })
public final class Main implements Runnable {
  static final int OK = 0;
  static final int FAILED = 1;
  static final int REFUSED = 2;

  @Spec private CommandSpec spec;

  private final Streams streams;

  private Main(Streams streams) {
    this.streams = streams;
  }

  /** Those of the command that is run. */
  Streams streams() {
    return streams;
  }

  /**
   * Runs a command and exits.
   *
   * @param args the command and its options
   */
  public static void main(String[] args) {
    Stdout stdout = new Stdout();
    PrintWriter out = new PrintWriter(stdout, false, System.out.charset());
    PrintWriter err = new PrintWriter(System.err, true);
    int code = run(args, new Streams(System.in, out, err, Streams::isTerminal));
    out.flush();
    if (stdout.failure != null && !"Broken pipe".equals(stdout.failure.getMessage())) {
      err.println(line("standard output: " + stdout.failure.getMessage()));
      code = REFUSED;
    }
    System.exit(code);
  }

  /** Runs a command that gets no input. */
  static int run(String[] args, PrintWriter out, PrintWriter err) {
    return run(args, Streams.withoutInput(out, err));
  }

  /** Runs a command with these streams and returns its exit code. */
  static int run(String[] args, Streams streams) {
    PrintWriter out = streams.out();
    PrintWriter err = streams.err();
    CommandLine command =
        new CommandLine(new Main(streams))
            .setOut(out)
            .setErr(err)
            .setExpandAtFiles(false) // a file name may begin with @
            .setUsageHelpWidth(110)
            .setParameterExceptionHandler((e, _) -> refuse(err, e))
            .setExecutionExceptionHandler((e, _, _) -> report(err, e));
    Converters.register(command);
    try {
      return command.execute(args);
    } catch (Throwable e) { // errors, and what the version meets
      return report(
          err, e instanceof ExecutionException && e.getCause() != null ? e.getCause() : e);
    } finally {
      out.flush();
      err.flush();
    }
  }

  @Override
  public void run() {
    throw new ParameterException(spec.commandLine(), "no command given; gatun --help lists them");
  }

  private static int refuse(PrintWriter err, Exception e) {
    err.println(line(e.getMessage()));
    return REFUSED;
  }

  private static int report(PrintWriter err, Throwable e) {
    boolean debug = "1".equals(System.getenv("GATUN_DEBUG"));
    int code = FAILED;
    switch (e) {
      case CliException mistake -> code = refuse(err, mistake);
      case GatunException failure -> err.println(line(failure.getMessage()));
      case OutOfMemoryError failure -> err.println(line("out of memory: " + failure.getMessage()));
      default ->
          err.println(
              line("internal error: " + e + (debug ? "" : " (GATUN_DEBUG=1 prints where)")));
    }
    if (debug) {
      e.printStackTrace(err);
    }
    return code;
  }

  /** One line whatever the message is: a file name may hold a line break. */
  private static String line(String message) {
    return "gatun: " + Messages.line(message);
  }

  /** The version of the native library in use. */
  static final class Version implements IVersionProvider {
    @Override
    public String[] getVersion() {
      return new String[] {"gatun " + Native.version()};
    }
  }

  /** Standard output that keeps its first failure, which a PrintWriter swallows. */
  private static final class Stdout extends OutputStream {
    private final FileOutputStream stream = new FileOutputStream(FileDescriptor.out);
    private IOException failure;

    @Override
    public void write(int b) throws IOException {
      write(new byte[] {(byte) b}, 0, 1);
    }

    @Override
    public void write(byte[] bytes, int offset, int length) throws IOException {
      try {
        stream.write(bytes, offset, length);
      } catch (IOException e) {
        failure = failure == null ? e : failure;
        throw e;
      }
    }
  }
}

package dev.gatun.bench.run;

import dev.gatun.bench.measure.BenchLibrary;
import dev.gatun.bench.measure.Rotation;
import dev.gatun.bench.measure.Series;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** A contestant in a process of its own, whose other end is a {@link BlockServer}. */
final class WorkerProcess implements Rotation.Contestant, AutoCloseable {

  private static final long LIMIT_SECONDS = 180;
  private static final String END = "";

  private final String name;
  private final String absence;
  private final Process process;
  private final BlockingQueue<String> answers = new LinkedBlockingQueue<>();
  private volatile String last = "";
  private double seconds;
  private String note = "";

  private WorkerProcess(String name, String absence, Process process) {
    this.name = name;
    this.absence = absence;
    this.process = process;
    if (process != null) {
      daemon(this::readAnswers);
      daemon(this::readErrors);
    }
  }

  /** One that is not there, and says why. */
  static WorkerProcess absent(String name, String reason) {
    return new WorkerProcess(name, reason, null);
  }

  /**
   * Starts one.
   *
   * @param main its class
   * @param classPath null for this process's own
   * @param environment variables of its own
   */
  static WorkerProcess start(
      String name,
      Class<?> main,
      List<String> flags,
      String classPath,
      Map<String, String> environment,
      String... arguments)
      throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(flags);
    command.addAll(List.of("-XX:+UseSerialGC", "--enable-native-access=ALL-UNNAMED"));
    command.add("-D%s=%s".formatted(BenchLibrary.PROPERTY, BenchLibrary.file()));
    for (String property : List.of("org.bytedeco.javacpp.cachedir", "DJL_CACHE_DIR")) {
      if (System.getProperty(property) != null) {
        command.add("-D%s=%s".formatted(property, System.getProperty(property)));
      }
    }
    command.add("-cp");
    command.add(classPath == null ? System.getProperty("java.class.path") : classPath);
    command.add(main.getName());
    command.addAll(List.of(arguments));
    ProcessBuilder builder = new ProcessBuilder(command);
    builder.environment().putAll(environment);
    return new WorkerProcess(name, null, builder.start());
  }

  private static void daemon(Runnable reader) {
    Thread thread = new Thread(reader, "output");
    thread.setDaemon(true);
    thread.start();
  }

  private void readAnswers() {
    try (BufferedReader lines = process.inputReader(StandardCharsets.UTF_8)) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        if (line.startsWith(BlockServer.ANSWER)) {
          answers.add(line.substring(BlockServer.ANSWER.length()));
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } finally {
      answers.add(END);
    }
  }

  private void readErrors() {
    try (BufferedReader lines = process.errorReader(StandardCharsets.UTF_8)) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        System.err.println(name + ": " + line);
        if (!line.isBlank() && !line.startsWith("\t") && !line.startsWith("#")) {
          last = line.strip();
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public double seconds() {
    return seconds;
  }

  /** What it said about the case that it is ready for. */
  String note() {
    return note;
  }

  /** Returns the answer, without its first word, which is the one that is expected. */
  private String ask(String question, String expected) {
    if (absence != null) {
      throw new Rotation.Failure(absence);
    }
    String answer;
    try {
      OutputStream out = process.getOutputStream();
      out.write((question + "\n").getBytes(StandardCharsets.UTF_8));
      out.flush();
      answer = answers.poll(LIMIT_SECONDS, TimeUnit.SECONDS);
      if (answer == null) {
        process.destroyForcibly();
        throw new Rotation.Failure("its process was ended after %d s".formatted(LIMIT_SECONDS));
      }
      if (answer.equals(END)) {
        answers.add(END);
        throw new Rotation.Failure(ended());
      }
    } catch (IOException e) {
      throw new Rotation.Failure(ended());
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
    if (answer.startsWith("missing ")) {
      throw new Rotation.Failure(answer.substring("missing ".length()));
    }
    if (!answer.startsWith(expected)) {
      throw new Rotation.Failure("expected %s, got %s".formatted(expected, answer));
    }
    return answer.substring(expected.length()).strip();
  }

  private String ended() {
    try {
      return process.waitFor(5, TimeUnit.SECONDS)
          ? "its process ended with exit code %d: %s".formatted(process.exitValue(), last)
          : "its process closed its output";
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Makes it ready for a case. */
  void prepare(String what) {
    String[] parts = ask("prepare " + what, "ready").split(" ", 2);
    seconds = Double.parseDouble(parts[0]);
    note = parts.length == 1 ? "" : parts[1];
  }

  /** Asks for something else. */
  void other(String what) {
    ask(what, "done");
  }

  @Override
  public Series.Sample block(double window) {
    String[] parts = ask("block " + window, "sample").split(" ");
    double nanos = Double.parseDouble(parts[0]);
    seconds = nanos * 1e-9;
    return new Series.Sample(nanos, Series.Quiet.valueOf(parts[1]), Double.parseDouble(parts[2]));
  }

  @Override
  public void close() {
    if (process == null) {
      return;
    }
    try {
      process.getOutputStream().close(); // the end of its questions
      if (!process.waitFor(10, TimeUnit.SECONDS)) {
        process.destroyForcibly();
      }
    } catch (IOException e) {
      process.destroyForcibly(); // it has ended before
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }
}

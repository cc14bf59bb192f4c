package dev.gatun.support;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;

/**
 * Reads changed files in a JVM of its own, to see that none ends it and that all are read or
 * refused as documented. Input n depends on the seed and on n alone, so that whatever is found can
 * be made again by {@link #input}.
 */
public final class Mutations {

  private static final int MAX_SHOWN = 10;
  private static final int MAX_BYTES = 1 << 20;

  private Mutations() {}

  /** What reads; a class with a constructor without arguments, made in the child by its name. */
  public interface Subject {

    /** Valid files, small ones. */
    List<byte[]> seeds() throws IOException;

    /** Reads one, and uses what was read. */
    void read(byte[] bytes) throws Exception;

    /** Tells whether {@link #read} is documented to throw this. */
    boolean allows(Throwable thrown);

    /** Changes a file; several changes are made to one. By default, bytes of it. */
    default byte[] change(byte[] bytes, List<byte[]> seeds, RandomGenerator random) {
      return changeBytes(bytes, seeds, random);
    }
  }

  /**
   * What came of it.
   *
   * @param out what the child printed
   * @param problem what went wrong, or null
   */
  public record Outcome(String out, String problem) {

    /** Fails unless all inputs were read or refused, and as many as wanted. */
    public void expectNoProblem() {
      if (problem != null) {
        throw new AssertionError(problem + "\n" + out);
      }
    }
  }

  // ---- the parent ----------------------------------------------------------------------------

  /**
   * Runs a child.
   *
   * @param jvm on the class path
   * @param subject what reads
   * @param seed of all inputs
   * @param count how many inputs
   * @param box after which the child ends in any case, and well
   */
  public static Outcome inChild(
      ChildJvm jvm, Class<? extends Subject> subject, long seed, long count, Duration box)
      throws IOException, InterruptedException {
    Path last = Files.createTempFile("gatun-mutations", ".last");
    try {
      Files.write(last, new byte[Long.BYTES]);
      String problem = null;
      String out = "";
      try {
        ChildJvm.Result result =
            jvm.run(
                "mutations",
                subject.getName(),
                Long.toString(seed),
                Long.toString(count),
                Long.toString(box.toMillis()),
                last.toString());
        out = result.out();
        if (result.exitCode() != 0) {
          problem = "exit code %d: %s".formatted(result.exitCode(), result.err());
        }
      } catch (AssertionError e) {
        problem = e.getMessage();
      }
      long n = ByteBuffer.wrap(Files.readAllBytes(last)).getLong();
      return new Outcome(
          out,
          problem == null
              ? null
              : "%s\nseed %d, the last input was %d".formatted(problem, seed, n));
    } finally {
      Files.delete(last);
    }
  }

  // ---- the child -----------------------------------------------------------------------------

  /** Runs in the child: the name of the subject, the seed, how many, milliseconds, a file. */
  static void main(String[] arguments) throws Exception {
    Subject subject = subject(arguments[0]);
    long seed = Long.parseLong(arguments[1]);
    long count = Long.parseLong(arguments[2]);
    long end = System.nanoTime() + Duration.ofMillis(Long.parseLong(arguments[3])).toNanos();
    try (FileChannel channel =
        FileChannel.open(
            Path.of(arguments[4]), StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      MappedByteBuffer last = channel.map(FileChannel.MapMode.READ_WRITE, 0, Long.BYTES);
      if (run(subject, seed, count, end, last, System.out) > 0) {
        System.exit(1);
      }
    }
  }

  private static long run(
      Subject subject, long seed, long count, long end, ByteBuffer last, PrintStream out)
      throws IOException {
    List<byte[]> seeds = subject.seeds();
    long n = 0;
    long read = 0;
    long refused = 0;
    long wrong = 0;
    for (; n < count && System.nanoTime() < end; n++) {
      // Stays in the file when the JVM ends here.
      last.putLong(0, n);
      byte[] bytes = input(subject, seeds, seed, n);
      try {
        subject.read(bytes);
        read++;
      } catch (Throwable e) {
        if (subject.allows(e)) {
          refused++;
        } else if (++wrong <= MAX_SHOWN) {
          out.printf("input %d: %s%n", n, e);
          Arrays.stream(e.getStackTrace()).limit(6).forEach(at -> out.println("    " + at));
          out.println("    " + shown(bytes));
        }
      }
    }
    out.printf(
        "seed %d: %,d inputs, %,d read, %,d refused, %,d undocumented%n",
        seed, n, read, refused, wrong);
    return wrong;
  }

  private static Subject subject(String name) throws ReflectiveOperationException {
    var constructor = Class.forName(name).getDeclaredConstructor();
    constructor.setAccessible(true);
    return (Subject) constructor.newInstance();
  }

  private static String shown(byte[] bytes) {
    String text = new String(bytes, StandardCharsets.ISO_8859_1).replaceAll("\\p{Cntrl}", "?");
    return text.length() > 2000 ? text.substring(0, 2000) + "…" : text;
  }

  // ---- the inputs ----------------------------------------------------------------------------

  /** Makes input n. */
  public static byte[] input(Subject subject, List<byte[]> seeds, long seed, long n) {
    RandomGenerator random = new SplittableRandom(seed * 0x9e3779b97f4a7c15L + n);
    byte[] bytes = seeds.get(random.nextInt(seeds.size())).clone();
    int changes = 1 + random.nextInt(1 + random.nextInt(5));
    for (int i = 0; i < changes; i++) {
      bytes = subject.change(bytes, seeds, random);
    }
    return bytes;
  }

  private static final long[] NUMBERS = {
    0,
    1,
    -1,
    2,
    7,
    8,
    64,
    127,
    128,
    255,
    256,
    32767,
    65535,
    65536,
    Integer.MAX_VALUE,
    Integer.MIN_VALUE,
    0xffffffffL,
    0x100000000L,
    0x100000001L,
    Long.MAX_VALUE,
    Long.MIN_VALUE,
    Long.MAX_VALUE / 4
  };

  /** Returns a number at which something may break. */
  public static long number(RandomGenerator random) {
    return switch (random.nextInt(4)) {
      case 0 -> random.nextInt(100);
      case 1 -> random.nextLong();
      default -> NUMBERS[random.nextInt(NUMBERS.length)];
    };
  }

  /** Changes some bytes of a file that need not be text. */
  public static byte[] changeBytes(byte[] bytes, List<byte[]> seeds, RandomGenerator random) {
    if (bytes.length == 0) {
      return new byte[] {(byte) random.nextInt(256)};
    }
    int at = random.nextInt(bytes.length);
    int length = Math.min(bytes.length - at, 1 + random.nextInt(1 + random.nextInt(64)));
    byte[] copy = bytes.clone();
    switch (random.nextInt(9)) {
      case 0 -> copy[at] ^= (byte) (1 << random.nextInt(8));
      case 1 -> copy[at] = (byte) random.nextInt(256);
      case 2 -> copy = replaced(bytes, at, length, new byte[0]);
      case 3 -> copy = replaced(bytes, at, 0, Arrays.copyOfRange(bytes, at, at + length));
      case 4 -> copy = Arrays.copyOf(bytes, at);
      case 5, 6 -> {
        ByteOrder order = random.nextInt(4) == 0 ? ByteOrder.BIG_ENDIAN : ByteOrder.LITTLE_ENDIAN;
        byte[] number = ByteBuffer.allocate(8).order(order).putLong(number(random)).array();
        int width = 1 << random.nextInt(4);
        int from = order == ByteOrder.BIG_ENDIAN ? 8 - width : 0;
        for (int i = 0; i < width && at + i < copy.length; i++) {
          copy[at + i] = number[from + i];
        }
      }
      case 7 -> {
        byte[] other = seeds.get(random.nextInt(seeds.size()));
        int from = random.nextInt(Math.max(1, other.length));
        byte[] part =
            Arrays.copyOfRange(other, from, Math.min(other.length, from + random.nextInt(256)));
        copy = replaced(bytes, at, random.nextBoolean() ? length : 0, part);
      }
      default -> copy = changeDigits(bytes, at, random);
    }
    return copy.length > MAX_BYTES ? bytes : copy;
  }

  /** Another number in place of the next one that is written in digits. */
  private static byte[] changeDigits(byte[] bytes, int at, RandomGenerator random) {
    int start = at;
    while (start < bytes.length && (bytes[start] < '0' || bytes[start] > '9')) {
      start++;
    }
    int end = start;
    while (end < bytes.length && bytes[end] >= '0' && bytes[end] <= '9') {
      end++;
    }
    String digits = Long.toString(number(random));
    return replaced(bytes, start, end - start, digits.getBytes(StandardCharsets.US_ASCII));
  }

  private static byte[] replaced(byte[] bytes, int at, int length, byte[] by) {
    byte[] result = new byte[bytes.length - length + by.length];
    System.arraycopy(bytes, 0, result, 0, at);
    System.arraycopy(by, 0, result, at, by.length);
    int rest = at + length;
    System.arraycopy(bytes, rest, result, at + by.length, bytes.length - rest);
    return result;
  }
}

package dev.gatun.bench.run;

import com.sun.management.ThreadMXBean;
import dev.gatun.bench.measure.Alternation;
import dev.gatun.bench.measure.Json;
import dev.gatun.bench.measure.Peer;
import dev.gatun.bench.measure.Quartiles;
import dev.gatun.bench.peer.EmbeddingPeer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;

/**
 * What another thread's garbage does to the time of an embedding of 128 tokens: by Gatun, and by
 * the {@code float[]} variant of the same code. The other thread allocates {@value
 * #MEGABYTES_A_SECOND} MB/s in arrays of 64 KiB and keeps the last 64 MB of them, so that
 * collections have something to do. Windows with and without load, and of the two, follow each
 * other in turn. A process of its own: {@code GarbageLoad FILE quick|full}.
 */
public final class GarbageLoad {
  public static final int MEGABYTES_A_SECOND = 500;

  private static final int TOKENS = 128;
  private static final int PIECE = 64 << 10;
  private static final int KEPT = (64 << 20) / PIECE;

  private GarbageLoad() {}

  /** The other thread. */
  private static final class Allocator implements AutoCloseable {
    private final byte[][] kept = new byte[KEPT][];
    private final Thread thread = new Thread(this::run, "allocator");
    private volatile boolean loading;
    private volatile boolean ended;
    private volatile long bytes;

    Allocator() {
      thread.setDaemon(true);
      thread.start();
    }

    private void run() {
      long begin = 0;
      long done = 0;
      int place = 0;
      while (!ended) {
        if (!loading) {
          begin = 0;
          LockSupport.parkNanos(1_000_000);
          continue;
        }
        if (begin == 0) {
          begin = System.nanoTime();
          done = 0;
        }
        long due = (long) ((System.nanoTime() - begin) * 1e-9 * MEGABYTES_A_SECOND * 1e6);
        for (; done < due && loading; done += PIECE) {
          kept[place] = new byte[PIECE];
          place = (place + 1) % KEPT;
          bytes += PIECE;
        }
        LockSupport.parkNanos(500_000);
      }
    }

    @Override
    public void close() {
      ended = true;
      try {
        thread.join();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /** Samples of one peer with or without load. */
  private static final class Series {
    private final double[] times = new double[1 << 17];
    private int count;
    private double seconds;
    private long loadBytes;
    private long ownBytes;
    private long collections;
    private long collectionMillis;

    void window(Peer peer, double length, Allocator allocator) {
      ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
      long bytes = allocator.bytes;
      long[] before = collections();
      long own = threads.getCurrentThreadAllocatedBytes();
      long begin = System.nanoTime();
      long last = begin;
      do {
        peer.calls(1);
        long now = System.nanoTime();
        if (count < times.length) {
          times[count++] = now - last;
        }
        last = now;
      } while ((last - begin) * 1e-9 < length);
      ownBytes += threads.getCurrentThreadAllocatedBytes() - own;
      long[] after = collections();
      seconds += (last - begin) * 1e-9;
      loadBytes += allocator.bytes - bytes;
      collections += after[0] - before[0];
      collectionMillis += after[1] - before[1];
    }

    private static long[] collections() {
      long[] sum = new long[2];
      for (GarbageCollectorMXBean bean : ManagementFactory.getGarbageCollectorMXBeans()) {
        sum[0] += bean.getCollectionCount();
        sum[1] += bean.getCollectionTime();
      }
      return sum;
    }

    Map<String, Object> row(String peer, boolean load) {
      double[] sorted = Arrays.copyOf(times, count);
      Arrays.sort(sorted);
      Map<String, Object> row = new LinkedHashMap<>();
      row.put("peer", peer);
      row.put("load", load);
      row.put("samples", count);
      row.put("p50Ns", Quartiles.quantile(sorted, 0.5));
      row.put("p99Ns", Quartiles.quantile(sorted, 0.99));
      row.put("p999Ns", Quartiles.quantile(sorted, 0.999));
      row.put("maxNs", sorted[count - 1]);
      row.put("loadMegabytesPerSecond", loadBytes / seconds / 1e6);
      row.put("heapBytesPerCall", (double) ownBytes / count);
      row.put("collections", collections);
      row.put("collectionMillis", collectionMillis);
      return row;
    }
  }

  /** Measures for about 4 · rounds · window seconds. */
  static List<Map<String, Object>> run(int tokens, int rounds, double window, double warm) {
    int[] ids = EmbeddingPeer.ids(tokens);
    double[] exact = EmbeddingPeer.exact(ids);
    List<Map<String, Object>> rows = new ArrayList<>();
    try (EmbeddingPeer gatun = new EmbeddingPeer.FromTensors(ids);
        EmbeddingPeer arrays = new EmbeddingPeer.FromArrays(ids);
        Allocator allocator = new Allocator()) {
      EmbeddingPeer[] peers = {gatun, arrays};
      Series[][] series = new Series[2][2];
      for (int p = 0; p < 2; p++) {
        EmbeddingPeer.check(peers[p].name, peers[p].vector(), exact);
        series[p][0] = new Series();
        series[p][1] = new Series();
        Alternation.warm(peers[p], new Alternation.Effort(0, 1, warm, warm, 1, 0));
      }
      for (int round = 0; round < rounds; round++) {
        for (int load = 0; load < 2; load++) {
          allocator.loading = load == 1;
          LockSupport.parkNanos(50_000_000);
          for (int p = 0; p < 2; p++) {
            series[p][load].window(peers[p], window, allocator);
          }
        }
      }
      for (int p = 0; p < 2; p++) {
        rows.add(series[p][0].row(peers[p].name, false));
        rows.add(series[p][1].row(peers[p].name, true));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return rows;
  }

  /**
   * Runs the measurement.
   *
   * @param args the file to write, and {@code quick} or {@code full}
   * @throws IOException if the file cannot be written
   */
  public static void main(String[] args) throws IOException {
    boolean quick = args[1].equals("quick");
    List<Map<String, Object>> rows = quick ? run(TOKENS, 1, 1, 0.5) : run(TOKENS, 10, 4, 3);
    for (Map<String, Object> row : rows) {
      System.err.println(
          "garbage load "
              + String.format(
                  Locale.ROOT,
                  "%s %-8s p50 %.3f ms, p99 %.3f ms, p99.9 %.3f ms, %s collections",
                  row.get("load").equals(true) ? "on, " : "off,",
                  row.get("peer"),
                  (double) row.get("p50Ns") / 1e6,
                  (double) row.get("p99Ns") / 1e6,
                  (double) row.get("p999Ns") / 1e6,
                  row.get("collections")));
    }
    Json.write(Path.of(args[0]), rows);
  }
}

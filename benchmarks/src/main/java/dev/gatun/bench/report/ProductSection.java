package dev.gatun.bench.report;

import static dev.gatun.bench.report.Cells.mark;
import static dev.gatun.bench.report.Results.number;

import dev.gatun.bench.measure.Products;
import dev.gatun.bench.measure.Quartiles;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/** The products of models by Gatun's packed weights and by libraries, as shares of their peaks. */
final class ProductSection {

  private static final String GATUN = "gatun ";

  private final Markdown page;
  private final List<Map<?, ?>> maps;

  private final List<Plots.Picture> pictures;

  ProductSection(List<Map<?, ?>> maps, List<Plots.Picture> pictures, Markdown page) {
    this.page = page;
    this.pictures = pictures;
    this.maps = maps;
  }

  /** The rows of each model. */
  static Map<String, RotationRows> models(List<Map<?, ?>> maps) {
    Map<String, List<Map<?, ?>>> models = new LinkedHashMap<>();
    for (Map<?, ?> map : maps) {
      models.computeIfAbsent(map.get("products").toString(), each -> new ArrayList<>()).add(map);
    }
    Map<String, RotationRows> rows = new LinkedHashMap<>();
    models.forEach(
        (model, own) -> rows.put(model, new RotationRows(own, map -> map.get("rows").toString())));
    return rows;
  }

  void products() {
    if (maps.isEmpty()) {
      return;
    }
    page.heading(
        "Products alone",
        "All products of MiniLM (24: K × N of 384 × 1152, 384 × 384, 384 × 1536, 1536 × 384, six"
            + " times), and those of one layer of a LLaMA of 1 B (2048 × 3072, 2048 × 2048, twice"
            + " 2048 × 8192, 8192 × 2048), one thread, the weights one after the other in huge"
            + " pages. Every contestant is a process of its own; they are timed in turn, each block"
            + " between two windows of the loop of multiply-adds of its own type, of whose rate the"
            + " percentages are (median, quartiles). With one row memory is the bound: bytes of"
            + " weights a second instead. Gatun packs the weights, takes floats and leaves floats"
            + " in every format: rounding, quantization, scales and a bias are in its time."
            + " openblas reads weights as they lie; mkl (cblas_gemm_*_pack, _compute) and onednn"
            + " (matmul, weights in the format it asks for) have packed theirs, bf16 from inputs"
            + " that are bfloat16 already, int8 from inputs that are quantized already to sums of"
            + " integers that nobody scaled.");
    for (Map.Entry<String, RotationRows> model : models(maps).entrySet()) {
      RotationRows rows = model.getValue();
      page.line("### %s, rows", model.getKey());
      page.line("");
      page.picture(pictures, RotationPlots.PRODUCTS + model.getKey());
      table(rows);
      page.line("");
      page.line(
          "Gatun against the fastest other of the type: how many times as fast (medians and"
              + " quartiles of the ratios within a round).");
      page.line("");
      ratios(rows);
      page.line("");
      for (String line : kernels(rows)) {
        page.line("%s", line);
      }
      if (!rows.reasons().isEmpty()) {
        page.line("");
        page.line("%s", "Not timed: " + String.join("; ", rows.reasons()) + ".");
      }
      page.line("");
    }
  }

  private void head(RotationRows rows) {
    List<String> titles = new ArrayList<>(List.of(""));
    titles.addAll(rows.cases());
    page.tableHead(titles.toArray(String[]::new));
  }

  private void table(RotationRows rows) {
    head(rows);
    for (String peer : rows.families()) {
      page.line("| %s |", String.join(" | ", rows.cells(peer, 1, ProductSection::cell)));
    }
  }

  private static String cell(RotationRows.Row row) {
    if (row == null || row.series() == null) {
      return "–";
    }
    Quartiles nanos = row.series().nanos();
    String disturbed = mark(row.series().isDisturbed());
    if (row.what().equals("1")) {
      double bytes =
          (double) Products.of(row.map().get("products").toString()).weights()
              * bytesOf(row.peer());
      return String.format(
          Locale.ROOT,
          "%s, %.0f GB/s%s",
          Cells.time(nanos.median()),
          bytes / nanos.median(),
          disturbed);
    }
    Quartiles share = row.series().share(number(row.map().get("operations")));
    return String.format(
        Locale.ROOT,
        "%s, %.0f %% (%.0f … %.0f)%s",
        Cells.time(nanos.median()),
        share.median() * 100,
        share.q1() * 100,
        share.q3() * 100,
        disturbed);
  }

  private static String typeOf(String peer) {
    return peer.substring(peer.indexOf(' ') + 1);
  }

  private static int bytesOf(String peer) {
    return switch (typeOf(peer)) {
      case "F32" -> 4;
      case "BF16" -> 2;
      default -> 1;
    };
  }

  private void ratios(RotationRows rows) {
    head(rows);
    for (String peer : rows.families()) {
      if (!peer.startsWith(GATUN)) {
        continue;
      }
      List<String> cells = new ArrayList<>(List.of(peer));
      for (String what : rows.cases()) {
        cells.add(ratio(rows, peer, what));
      }
      page.line("| %s |", String.join(" | ", cells));
    }
  }

  private static String ratio(RotationRows rows, String peer, String what) {
    RotationRows.Row own = rows.best(peer, what, 1);
    RotationRows.Row best = null;
    for (String other : rows.families()) {
      if (!other.startsWith(GATUN) && typeOf(other).equals(typeOf(peer))) {
        RotationRows.Row row = rows.best(other, what, 1);
        if (row != null
            && row.series() != null
            && (best == null || row.series().nanos().median() < best.series().nanos().median())) {
          best = row;
        }
      }
    }
    if (best == null || own == null || own.series() == null) {
      return "–";
    }
    return Cells.fasterThan(best.series().over(own.series()))
        + mark(best.series().isDisturbed() || own.series().isDisturbed())
        + " "
        + best.peer().substring(0, best.peer().indexOf(' '));
  }

  /** What libraries say that they compute with. */
  private static List<String> kernels(RotationRows rows) {
    Map<String, Set<String>> kernels = new LinkedHashMap<>();
    for (String peer : rows.families()) {
      for (String what : rows.cases()) {
        RotationRows.Row row = rows.best(peer, what, 1);
        if (row != null && row.series() != null && row.map().get("note") != null) {
          kernels
              .computeIfAbsent(peer, each -> new LinkedHashSet<>())
              .add(row.map().get("note").toString());
        }
      }
    }
    List<String> lines = new ArrayList<>();
    kernels.forEach((peer, notes) -> lines.add("- " + peer + ": " + String.join("; ", notes)));
    return lines;
  }
}

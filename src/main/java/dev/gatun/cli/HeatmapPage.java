package dev.gatun.cli;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.SerializableString;
import com.fasterxml.jackson.core.io.CharacterEscapes;
import dev.gatun.internal.JsonText;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.Deflater;
import java.util.zip.DeflaterOutputStream;

/**
 * One HTML page with all that it needs: style, script, and the weights as codes of 16 bits, which
 * are deflated. The code of a weight w is {@code round(sqrt(w) * 65534)}, so that a weight is off
 * by at most {@code sqrt(w) / 65534 + 6e-11}, 0 and 1 are exact, and small weights keep their
 * digits.
 */
final class HeatmapPage {
  static final int ONE = 65534;
  static final int NOT_A_NUMBER = 65535;

  /** Beyond it a browser has no chance, and Java no array. */
  static final long MOST_WEIGHTS = 1L << 26;

  private static final Pattern PLACE = Pattern.compile("@(style|script|data|weights)@");

  private HeatmapPage() {}

  static byte[] bytes(Heatmaps maps) {
    Map<String, String> parts =
        Map.of(
            "style", resource("heatmap.css"),
            "script", resource("heatmap.js"),
            "data", json(maps),
            "weights", weights(maps));
    String page =
        PLACE
            .matcher(resource("heatmap.html"))
            .replaceAll(place -> Matcher.quoteReplacement(parts.get(place.group(1))));
    return page.getBytes(StandardCharsets.UTF_8);
  }

  private static String resource(String name) {
    try (InputStream in = HeatmapPage.class.getResourceAsStream(name)) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(name, e);
    }
  }

  // ---- weights -------------------------------------------------------------------------------

  static int code(float weight) {
    return Float.isNaN(weight)
        ? NOT_A_NUMBER
        : Math.clamp(Math.round(Math.sqrt(weight) * ONE), 0, ONE);
  }

  /** High bytes, then low ones, which deflate better apart. */
  private static String weights(Heatmaps maps) {
    int count = Math.toIntExact(maps.weights().elements());
    byte[] bytes = new byte[2 * count];
    int at = 0;
    for (int map = 0; map < maps.maps(); map++) {
      for (int row = 0; row < maps.mapRows(); row++) {
        for (int column = 0; column < maps.mapColumns(); column++) {
          int code = code(maps.weight(map, row, column));
          bytes[at] = (byte) (code >> 8);
          bytes[count + at++] = (byte) code;
        }
      }
    }
    ByteArrayOutputStream deflated = new ByteArrayOutputStream();
    Deflater deflater = new Deflater(Deflater.BEST_COMPRESSION);
    try (DeflaterOutputStream out = new DeflaterOutputStream(deflated, deflater)) {
      out.write(bytes);
    } catch (IOException e) {
      throw new AssertionError("an array throws none", e);
    } finally {
      deflater.end();
    }
    return Base64.getEncoder().encodeToString(deflated.toByteArray());
  }

  // ---- everything else -----------------------------------------------------------------------

  /** No text can end the element that the JSON stands in. */
  private static final class Escapes extends CharacterEscapes {
    private static final long serialVersionUID = 1L;

    @Override
    public int[] getEscapeCodesForAscii() {
      int[] codes = standardAsciiEscapesForJSON();
      for (char c : new char[] {'<', '>', '&'}) {
        codes[c] = ESCAPE_STANDARD;
      }
      return codes;
    }

    @Override
    public SerializableString getEscapeSequence(int c) {
      return null;
    }
  }

  private static String json(Heatmaps maps) {
    StringWriter text = new StringWriter();
    try (JsonGenerator json = JsonText.FACTORY.createGenerator(text)) {
      json.setCharacterEscapes(new Escapes());
      json.setHighestNonEscapedChar(127); // half a surrogate pair has no UTF-8
      json.writeStartObject();
      json.writeStringField("title", maps.title());
      json.writeStringField("text", maps.text());
      strings(json, "facts", maps.facts());
      json.writeStringField("rowName", maps.rowName());
      numbers(json, "rows", maps.rows());
      numbers(json, "heads", maps.heads());
      json.writeNumberField("mapRows", maps.mapRows());
      json.writeNumberField("mapColumns", maps.mapColumns());
      json.writeNumberField("seqQ", maps.seqQ());
      json.writeNumberField("seqK", maps.seqK());
      json.writeStringField("reduce", maps.reduce());
      strings(json, "queryTokens", maps.queryTokens());
      strings(json, "keyTokens", maps.keyTokens());
      json.writeStringField("precision", precision(maps));
      json.writeStringField("colorsLight", ColorScale.LIGHT.hex());
      json.writeStringField("colorsDark", ColorScale.DARK.hex());
      json.writeEndObject();
    } catch (IOException e) {
      throw new AssertionError("a StringWriter throws none", e);
    }
    return text.toString();
  }

  private static String precision(Heatmaps maps) {
    String cell =
        maps.mapRows() == maps.seqQ() && maps.mapColumns() == maps.seqK()
            ? "A cell is the softmax probability with which the query of its row attends to the key"
                + " of its column."
            : "A cell is the %s of the softmax probabilities of several queries and keys."
                .formatted(maps.reduce().equals("max") ? "largest" : "mean");
    return cell
        + " Weights are stored with 16 bits: a weight w is off by at most 0.000016 times its square"
        + " root. Colors go by the square root, up to the largest weight.";
  }

  private static void strings(JsonGenerator json, String name, List<String> texts)
      throws IOException {
    if (texts == null) {
      json.writeNullField(name);
      return;
    }
    json.writeArrayFieldStart(name);
    for (String text : texts) {
      json.writeString(text);
    }
    json.writeEndArray();
  }

  private static void numbers(JsonGenerator json, String name, List<Integer> numbers)
      throws IOException {
    json.writeArrayFieldStart(name);
    for (int number : numbers) {
      json.writeNumber(number);
    }
    json.writeEndArray();
  }
}

package dev.gatun.internal;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import java.io.IOException;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The text of {@link Json} documents, by jackson-core; apart from it so that a missing jar can be
 * named.
 */
public final class JsonText {
  /** Keeps nothing of what it has read. */
  public static final JsonFactory FACTORY =
      JsonFactory.builder()
          // The names are a stranger's. They are neither interned nor put into a hash table that
          // would live on, and no buffer of the size of a stranger's string outlives its parser.
          .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
          .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
          .disable(JsonFactory.Feature.USE_THREAD_LOCAL_FOR_BUFFER_RECYCLING)
          .build();

  /** Of a Decimal: longer ones are read as BigDecimals, and may be refused. */
  private static final int MOST_DIGITS = 40;

  private static final int MOST_EXPONENT = 6;

  /** Of Python's json module, and of Java. */
  static final String INFINITY = "Infinity";

  private JsonText() {}

  /**
   * A number with a fraction or an exponent, as it is written. A BigDecimal costs more than half a
   * model's description: its class makes a table of large powers of 5.
   */
  static final class Decimal extends Number {
    private static final long serialVersionUID = 1;

    private final String text;

    private Decimal(String text) {
      this.text = text;
    }

    @Override
    public double doubleValue() {
      return Double.parseDouble(text);
    }

    @Override
    public float floatValue() {
      return Float.parseFloat(text);
    }

    @Override
    public long longValue() {
      return (long) doubleValue();
    }

    @Override
    public int intValue() {
      return (int) doubleValue();
    }

    @Override
    public String toString() {
      return text;
    }
  }

  /**
   * Reads a document into Maps, Lists, Strings, Longs, BigIntegers where those are too short,
   * Decimals, BigDecimals where those might hide what is no number, Booleans and nulls.
   *
   * @param halves whether a text could have half a surrogate pair, which is refused
   * @param infinities whether a number may be {@code Infinity} or {@code -Infinity}, which is no
   *     JSON but what Python's json module writes
   * @param places gets where in the text the members of a document that is an object begin and end
   */
  static Object read(String text, boolean halves, boolean infinities, Map<String, Place> places) {
    try (JsonParser parser = FACTORY.createParser(text)) {
      if (infinities) {
        parser.enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS.mappedFeature());
      }
      if (parser.nextToken() == null) {
        throw new IllegalArgumentException("expected JSON, got nothing");
      }
      Object value =
          parser.currentToken() == JsonToken.START_OBJECT
              ? readMembers(parser, halves, places)
              : read(parser, halves);
      if (parser.nextToken() != null) {
        throw new IllegalArgumentException(
            "expected the end of the JSON at character %d, got more"
                .formatted(parser.currentTokenLocation().getCharOffset()));
      }
      return value;
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(mistake(e), e);
    } catch (IOException e) {
      throw new AssertionError("a String throws none", e);
    }
  }

  /** {@return where and why a document is no JSON, on one line} */
  public static String mistake(JsonProcessingException e) {
    long at = e.getLocation() == null ? -1 : e.getLocation().getCharOffset();
    return "expected JSON%s: %s".formatted(at < 0 ? "" : " at character " + at, reason(e));
  }

  /** {@return a message of Jackson's, which may have line breaks and characters of the file} */
  public static String reason(JsonProcessingException e) {
    return String.valueOf(e.getOriginalMessage()).replaceAll("[\\p{Cntrl}\\s]+", " ");
  }

  /** A member of an object: the characters from its name to the end of its value. */
  record Place(int begin, int end) {}

  private static Map<String, Object> readMembers(
      JsonParser parser, boolean halves, Map<String, Place> places) throws IOException {
    Map<String, Object> members = new LinkedHashMap<>();
    while (parser.nextToken() != JsonToken.END_OBJECT) {
      String name = parser.currentName();
      if (halves) {
        requireUnicode(parser, name);
      }
      if (members.containsKey(name)) {
        throw new IllegalArgumentException(
            "expected the key %s once, got it again at character %d"
                .formatted(Json.quoted(name), parser.currentTokenLocation().getCharOffset()));
      }
      long begin = places == null ? 0 : parser.currentTokenLocation().getCharOffset();
      parser.nextToken();
      members.put(name, read(parser, halves));
      if (places != null) {
        places.put(name, new Place((int) begin, (int) parser.currentLocation().getCharOffset()));
      }
    }
    return members;
  }

  private static Object read(JsonParser parser, boolean halves) throws IOException {
    return switch (parser.currentToken()) {
      case START_OBJECT -> readMembers(parser, halves, null);
      case START_ARRAY -> {
        ArrayList<Object> elements = new ArrayList<>();
        while (parser.nextToken() != JsonToken.END_ARRAY) {
          elements.add(read(parser, halves));
        }
        elements.trimToSize();
        yield elements;
      }
      case VALUE_STRING -> {
        String text = parser.getText();
        if (halves) {
          requireUnicode(parser, text);
        }
        yield text;
      }
      case VALUE_NUMBER_INT -> whole(parser);
      case VALUE_NUMBER_FLOAT -> decimal(parser);
      case VALUE_TRUE -> true;
      case VALUE_FALSE -> false;
      case VALUE_NULL -> null;
      default -> throw new AssertionError("no value begins with " + parser.currentToken());
    };
  }

  private static Object whole(JsonParser parser) throws IOException {
    if (parser.getNumberType() == JsonParser.NumberType.BIG_INTEGER) {
      return parser.getBigIntegerValue();
    }
    return parser.getLongValue();
  }

  /** With few characters behind its e, a number of JSON is one of Java. */
  private static Object decimal(JsonParser parser) throws IOException {
    String text = parser.getText();
    if (parser.isNaN()) { // so are infinities for it
      if (!text.equals(INFINITY) && !text.equals("-" + INFINITY)) {
        throw new IllegalArgumentException(
            "expected JSON at character %d: %s is no number"
                .formatted(parser.currentTokenLocation().getCharOffset(), text));
      }
      return new Decimal(text);
    }
    int exponent = Math.max(text.indexOf('e'), text.indexOf('E'));
    if (text.length() > MOST_DIGITS || exponent >= 0 && text.length() - exponent > MOST_EXPONENT) {
      return parser.getDecimalValue();
    }
    return new Decimal(text);
  }

  private static void requireUnicode(JsonParser parser, String text) {
    for (int i = 0; i < text.length(); i++) {
      if (Character.isSurrogate(text.charAt(i))) {
        boolean pair =
            i + 1 < text.length() && Character.isSurrogatePair(text.charAt(i), text.charAt(i + 1));
        if (!pair) {
          throw new IllegalArgumentException(
              "expected Unicode, got half a surrogate pair in the text at character %d"
                  .formatted(parser.currentTokenLocation().getCharOffset()));
        }
        i++;
      }
    }
  }

  /** Writes what {@link #read} returned, without blanks. */
  static String write(Object value) {
    StringWriter text = new StringWriter();
    try (JsonGenerator json = FACTORY.createGenerator(text)) {
      write(json, value);
    } catch (IOException e) {
      throw new AssertionError("a StringWriter throws none", e);
    }
    return text.toString();
  }

  private static void write(JsonGenerator json, Object value) throws IOException {
    switch (value) {
      case null -> json.writeNull();
      case Map<?, ?> members -> {
        json.writeStartObject();
        for (Map.Entry<?, ?> member : members.entrySet()) {
          json.writeFieldName((String) member.getKey());
          write(json, member.getValue());
        }
        json.writeEndObject();
      }
      case List<?> elements -> {
        json.writeStartArray();
        for (Object element : elements) {
          write(json, element);
        }
        json.writeEndArray();
      }
      case String string -> json.writeString(string);
      case Long number -> json.writeNumber(number);
      case Decimal number -> json.writeNumber(number.text);
      case BigInteger number -> json.writeNumber(number);
      case BigDecimal number -> json.writeNumber(number);
      case Boolean bool -> json.writeBoolean(bool);
      default -> throw new AssertionError("no value is a " + value.getClass());
    }
  }
}

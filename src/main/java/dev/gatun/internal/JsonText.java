package dev.gatun.internal;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
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

  private JsonText() {}

  /** Reads a document into Maps, Lists, Strings, BigIntegers, BigDecimals, Booleans and nulls. */
  static Object read(String text) {
    try (JsonParser parser = FACTORY.createParser(text)) {
      if (parser.nextToken() == null) {
        throw new IllegalArgumentException("expected JSON, got nothing");
      }
      Object value = read(parser);
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

  private static Object read(JsonParser parser) throws IOException {
    return switch (parser.currentToken()) {
      case START_OBJECT -> {
        Map<String, Object> members = new LinkedHashMap<>();
        while (parser.nextToken() != JsonToken.END_OBJECT) {
          String name = unicode(parser, parser.currentName());
          if (members.containsKey(name)) {
            throw new IllegalArgumentException(
                "expected the key %s once, got it again at character %d"
                    .formatted(Json.quoted(name), parser.currentTokenLocation().getCharOffset()));
          }
          parser.nextToken();
          members.put(name, read(parser));
        }
        yield members;
      }
      case START_ARRAY -> {
        ArrayList<Object> elements = new ArrayList<>();
        while (parser.nextToken() != JsonToken.END_ARRAY) {
          elements.add(read(parser));
        }
        elements.trimToSize();
        yield elements;
      }
      case VALUE_STRING -> unicode(parser, parser.getText());
      case VALUE_NUMBER_INT -> parser.getBigIntegerValue();
      case VALUE_NUMBER_FLOAT -> parser.getDecimalValue();
      case VALUE_TRUE -> true;
      case VALUE_FALSE -> false;
      case VALUE_NULL -> null;
      default -> throw new AssertionError("no value begins with " + parser.currentToken());
    };
  }

  private static String unicode(JsonParser parser, String text) {
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
    return text;
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
      case BigInteger number -> json.writeNumber(number);
      case BigDecimal number -> json.writeNumber(number);
      case Boolean bool -> json.writeBoolean(bool);
      default -> throw new AssertionError("no value is a " + value.getClass());
    }
  }
}

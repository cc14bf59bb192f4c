package dev.gatun.io;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.exc.StreamConstraintsException;
import dev.gatun.internal.JsonText;
import dev.gatun.internal.Messages;
import dev.gatun.io.SafetensorsHeader.Entry;
import dev.gatun.io.SafetensorsHeader.Type;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.Reader;
import java.io.StringWriter;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collection;
import java.util.Locale;
import java.util.Map;

/**
 * The header of a safetensors file as JSON. The only class of this package that needs jackson-core,
 * which is optional: nothing but reading and writing such files may touch it.
 */
final class SafetensorsJson {
  private static final JsonFactory FACTORY =
      JsonText.FACTORY
          .rebuild()
          .streamReadConstraints(
              StreamReadConstraints.builder()
                  .maxNameLength(SafetensorsHeader.MAX_NAME_LENGTH)
                  .maxStringLength(SafetensorsHeader.MAX_VALUE_LENGTH)
                  .build())
          .build();

  private final JsonParser parser;
  private final Path file;
  private final SafetensorsHeader header = new SafetensorsHeader();
  private int count;

  private SafetensorsJson(JsonParser parser, Path file) {
    this.parser = parser;
    this.file = file;
  }

  // ---- writing -------------------------------------------------------------------------------

  /** The header as its format's own library writes it: no blanks, non-ASCII characters as such. */
  static String text(Collection<Entry> entries, Map<String, String> metadata) {
    StringWriter text = new StringWriter();
    try (JsonGenerator json = FACTORY.createGenerator(text)) {
      json.writeStartObject();
      if (!metadata.isEmpty()) {
        json.writeObjectFieldStart(SafetensorsHeader.METADATA);
        for (Map.Entry<String, String> pair : metadata.entrySet()) {
          json.writeStringField(pair.getKey(), pair.getValue());
        }
        json.writeEndObject();
      }
      for (Entry entry : entries) {
        json.writeObjectFieldStart(entry.name());
        json.writeStringField("dtype", entry.type().name());
        json.writeFieldName("shape");
        json.writeArray(entry.shape(), 0, entry.shape().length);
        json.writeFieldName("data_offsets");
        json.writeArray(new long[] {entry.begin(), entry.end()}, 0, 2);
        json.writeEndObject();
      }
      json.writeEndObject();
    } catch (IOException e) {
      throw new AssertionError("a StringWriter throws none", e);
    }
    return text.toString();
  }

  // ---- reading -------------------------------------------------------------------------------

  /** Reads to the end of the stream. Shapes and offsets are numbers; nothing else is checked. */
  static SafetensorsHeader read(InputStream in, Path file) throws IOException {
    // A decoder of our own: Jackson's guesses UTF-16 and 32 as well.
    Reader reader = new InputStreamReader(in, StandardCharsets.UTF_8.newDecoder());
    try (JsonParser parser = FACTORY.createParser(reader)) {
      SafetensorsJson json = new SafetensorsJson(parser, file);
      json.readHeader();
      return json.header;
    } catch (StreamConstraintsException e) {
      throw new SafetensorsException(
          file,
          "damaged header: expected names of at most %d characters and values of at most %d: %s"
              .formatted(
                  SafetensorsHeader.MAX_NAME_LENGTH,
                  SafetensorsHeader.MAX_VALUE_LENGTH,
                  JsonText.reason(e)));
    } catch (JsonProcessingException e) {
      throw new SafetensorsException(file, "damaged header: " + JsonText.mistake(e));
    } catch (CharacterCodingException e) {
      throw new SafetensorsException(file, "damaged header: expected UTF-8, got other bytes");
    }
  }

  private void readHeader() throws IOException {
    parser.nextToken();
    expect(JsonToken.START_OBJECT, "an object");
    boolean metadata = false;
    while (parser.nextToken() != JsonToken.END_OBJECT) {
      String name = name();
      parser.nextToken();
      if (!name.equals(SafetensorsHeader.METADATA)) {
        readEntry(name);
      } else if (metadata) {
        throw twice(name);
      } else {
        metadata = true;
        readMetadata();
      }
    }
    if (parser.nextToken() != null) {
      throw unexpected("nothing but blanks behind the object");
    }
  }

  private void readMetadata() throws IOException {
    if (parser.currentToken() == JsonToken.VALUE_NULL) {
      return; // The format's own library takes it for none.
    }
    expect(JsonToken.START_OBJECT, "an object as '" + SafetensorsHeader.METADATA + "'");
    while (parser.nextToken() != JsonToken.END_OBJECT) {
      String key = name();
      parser.nextToken();
      if (parser.currentToken() != JsonToken.VALUE_STRING) {
        throw unexpected("a string as metadata " + Messages.quoted(key));
      }
      if (header.metadata.putIfAbsent(key, unicode(parser.getText())) != null) {
        throw twice(key);
      }
    }
  }

  private void readEntry(String name) throws IOException {
    if (parser.currentToken() != JsonToken.START_OBJECT) {
      throw unexpected("an object as " + tensor(name));
    }
    Type type = null;
    long[] shape = null;
    long[] offsets = null;
    while (parser.nextToken() != JsonToken.END_OBJECT) {
      String key = parser.currentName();
      parser.nextToken();
      switch (key) {
        case "dtype" -> {
          refuseSecond(type, key, name);
          type = type(name);
        }
        case "shape" -> {
          refuseSecond(shape, key, name);
          shape = numbers(name, key, SafetensorsHeader.MAX_RANK);
        }
        case "data_offsets" -> {
          refuseSecond(offsets, key, name);
          offsets = numbers(name, key, 2);
        }
        default -> parser.skipChildren(); // as the format's own library does
      }
    }
    if (type == null || shape == null || offsets == null || offsets.length != 2) {
      String missing =
          type == null ? "a 'dtype'" : shape == null ? "a 'shape'" : "two 'data_offsets'";
      throw new SafetensorsException(
          file, "%s: expected %s, found none".formatted(tensor(name), missing));
    }
    Entry entry = new Entry(name, type, shape, offsets[0], offsets[1]);
    if (header.entries.putIfAbsent(name, entry) != null) {
      throw twice(name);
    }
  }

  /** Only for messages, which hardly a file needs. */
  private static String tensor(String name) {
    return "tensor " + Messages.quoted(name);
  }

  private Type type(String name) throws IOException {
    if (parser.currentToken() != JsonToken.VALUE_STRING) {
      throw unexpected("a string as 'dtype' of " + tensor(name));
    }
    Type type = Type.of(parser.getText());
    if (type == null) {
      throw new SafetensorsException(
          file,
          "%s: expected one of the types %s, got %s"
              .formatted(
                  tensor(name), Arrays.toString(Type.values()), Messages.quoted(parser.getText())));
    }
    return type;
  }

  private long[] numbers(String name, String key, int most) throws IOException {
    if (parser.currentToken() != JsonToken.START_ARRAY) {
      throw unexpected("a list as '%s' of %s".formatted(key, tensor(name)));
    }
    long[] numbers = new long[4];
    int size = 0;
    while (parser.nextToken() != JsonToken.END_ARRAY) {
      if (parser.currentToken() != JsonToken.VALUE_NUMBER_INT) {
        throw unexpected("whole numbers as '%s' of %s".formatted(key, tensor(name)));
      }
      if (size == most) {
        throw new SafetensorsException(
            file,
            "%s: expected at most %d numbers as '%s', got more".formatted(tensor(name), most, key));
      }
      if (size == numbers.length) {
        numbers = Arrays.copyOf(numbers, most);
      }
      numbers[size++] = number(name, key);
    }
    return Arrays.copyOf(numbers, size);
  }

  private long number(String name, String key) throws IOException {
    String digits = parser.getText();
    try {
      if (!digits.startsWith("-")) {
        return Long.parseLong(digits);
      }
    } catch (NumberFormatException e) {
      // Too many digits: refused like a negative number.
    }
    throw new SafetensorsException(
        file,
        "%s: expected numbers of 0 … 2^63 - 1 as '%s', got %s"
            .formatted(tensor(name), key, Messages.quoted(digits)));
  }

  /** The name of a tensor, or the key of a piece of metadata. */
  private String name() throws IOException {
    if (++count > SafetensorsHeader.MAX_ENTRIES) {
      throw new SafetensorsException(
          file,
          "expected at most %d tensors and pieces of metadata, got more"
              .formatted(SafetensorsHeader.MAX_ENTRIES));
    }
    return unicode(parser.currentName());
  }

  private String unicode(String text) throws SafetensorsException {
    if (!SafetensorsHeader.isUnicode(text)) {
      throw new SafetensorsException(
          file,
          "damaged header: expected Unicode, got half a surrogate pair in "
              + Messages.quoted(text));
    }
    return text;
  }

  private void refuseSecond(Object value, String key, String name) throws SafetensorsException {
    if (value != null) {
      throw new SafetensorsException(
          file, "%s: expected the key '%s' once, got it twice".formatted(tensor(name), key));
    }
  }

  private SafetensorsException twice(String name) {
    return new SafetensorsException(
        file, "expected the name %s once, got it twice".formatted(Messages.quoted(name)));
  }

  private void expect(JsonToken token, String what) throws IOException {
    if (parser.currentToken() != token) {
      throw unexpected(what);
    }
  }

  private SafetensorsException unexpected(String expected) {
    JsonToken token = parser.currentToken();
    return new SafetensorsException(
        file,
        "damaged header: expected %s at character %d, got %s"
            .formatted(
                expected,
                parser.currentTokenLocation().getCharOffset(),
                token == null
                    ? "its end"
                    : token.name().replace('_', ' ').toLowerCase(Locale.ROOT)));
  }
}

package dev.gatun.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.internal.gatun.gatun_h;
import java.lang.foreign.AddressLayout;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodType;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** Functions that are bound late, and those whose handles are not the generated ones. */
class FunctionsTest {

  @Test
  void everyNameIsThatOfOneFunction() {
    Set<String> functions =
        Arrays.stream(gatun_h.class.getDeclaredClasses())
            .map(Class::getSimpleName)
            .collect(Collectors.toSet());
    Set<String> seen = new HashSet<>();
    for (Functions group : Functions.values()) {
      for (String name : group.names()) {
        assertTrue(functions.contains(name), name);
        assertTrue(seen.add(name), name);
      }
    }
  }

  /** The first pointers are numbers here; all else is as the header says. */
  private static void assertSame(FunctionDescriptor generated, int addresses, int numbers) {
    MemoryLayout[] expected = generated.argumentLayouts().toArray(MemoryLayout[]::new);
    for (int n = 0; n < addresses; n++) {
      assertTrue(expected[n] instanceof AddressLayout);
      expected[n] = ValueLayout.JAVA_LONG;
    }
    MethodType type =
        FunctionDescriptor.of(generated.returnLayout().orElseThrow(), expected).toMethodType();
    assertEquals(type, AttentionCall.descriptor(numbers, expected.length - numbers).toMethodType());
  }

  @Test
  void ownHandlesAreAsTheHeaderSays() {
    Native.load();
    assertSame(gatun_h.gatun_attention_forward$descriptor(), 3, 4);
    assertSame(gatun_h.gatun_attention_forward_extended$descriptor(), 3, 4);
    assertSame(gatun_h.gatun_attention_map$descriptor(), 4, 5);
    assertEquals(
        gatun_h.gatun_attention_forward$descriptor().toMethodType().parameterCount(),
        PlainAttention.FORWARD.type().parameterCount());
    assertEquals(
        gatun_h.gatun_attention_forward_extended$descriptor().toMethodType().parameterCount(),
        AttentionCall.extendedType().parameterCount());
    Functions.MAPS.load();
    assertEquals(
        gatun_h.gatun_attention_map$descriptor().toMethodType().parameterCount(),
        AttentionMapCall.handle().type().parameterCount());
  }
}

package dev.gatun;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.internal.Native;
import dev.gatun.internal.gatun.gatun_activation_desc;
import dev.gatun.internal.gatun.gatun_additive_attention_desc;
import dev.gatun.internal.gatun.gatun_attention_desc;
import dev.gatun.internal.gatun.gatun_attention_map_desc;
import dev.gatun.internal.gatun.gatun_attention_plan_info;
import dev.gatun.internal.gatun.gatun_causal_convolution_desc;
import dev.gatun.internal.gatun.gatun_config;
import dev.gatun.internal.gatun.gatun_embedding_desc;
import dev.gatun.internal.gatun.gatun_h;
import dev.gatun.internal.gatun.gatun_info;
import dev.gatun.internal.gatun.gatun_linear_attention_desc;
import dev.gatun.internal.gatun.gatun_linear_desc;
import dev.gatun.internal.gatun.gatun_norm_desc;
import dev.gatun.internal.gatun.gatun_pack_desc;
import dev.gatun.internal.gatun.gatun_packed_info;
import dev.gatun.internal.gatun.gatun_packed_linear_desc;
import dev.gatun.internal.gatun.gatun_pool_desc;
import dev.gatun.internal.gatun.gatun_recurrent_cell_desc;
import dev.gatun.internal.gatun.gatun_rotary_desc;
import dev.gatun.internal.gatun.gatun_row_step;
import dev.gatun.internal.gatun.gatun_row_steps_desc;
import dev.gatun.internal.gatun.gatun_selective_scan_desc;
import dev.gatun.internal.gatun.gatun_sgemm_desc;
import dev.gatun.internal.gatun.gatun_softmax_desc;
import java.lang.foreign.AddressLayout;
import java.lang.foreign.GroupLayout;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemoryLayout.PathElement;
import java.util.List;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

/** The structs as C was compiled, against the generated layouts. */
class AbiLayoutTest {

  private static final List<GroupLayout> STRUCTS =
      List.of(
          gatun_config.layout(),
          gatun_info.layout(),
          gatun_attention_desc.layout(),
          gatun_attention_map_desc.layout(),
          gatun_attention_plan_info.layout(),
          gatun_sgemm_desc.layout(),
          gatun_linear_desc.layout(),
          gatun_norm_desc.layout(),
          gatun_activation_desc.layout(),
          gatun_embedding_desc.layout(),
          gatun_pool_desc.layout(),
          gatun_softmax_desc.layout(),
          gatun_rotary_desc.layout(),
          gatun_pack_desc.layout(),
          gatun_packed_info.layout(),
          gatun_packed_linear_desc.layout(),
          gatun_row_step.layout(),
          gatun_row_steps_desc.layout(),
          gatun_additive_attention_desc.layout(),
          gatun_linear_attention_desc.layout(),
          gatun_selective_scan_desc.layout(),
          gatun_causal_convolution_desc.layout(),
          gatun_recurrent_cell_desc.layout());

  @Test
  void membersLieWhereCPutsThem() {
    TreeSet<String> generated = new TreeSet<>();
    for (GroupLayout struct : STRUCTS) {
      String name = struct.name().orElseThrow();
      generated.add("%s - %d".formatted(name, struct.byteSize()));
      for (MemoryLayout member : struct.memberLayouts()) {
        if (member.name().isPresent()) { // padding has none
          String field = member.name().get();
          long offset = struct.byteOffset(PathElement.groupElement(field));
          generated.add("%s.%s %d %d".formatted(name, field, offset, member.byteSize()));
        }
      }
    }
    TreeSet<String> compiled = new TreeSet<>(Native.abiLayout().lines().toList());
    assertEquals(String.join("\n", compiled), String.join("\n", generated));
  }

  /** The linker keeps an argument's memory alive, not what a struct points to. */
  @Test
  void noStructHoldsAPointer() {
    for (GroupLayout struct : STRUCTS) {
      for (MemoryLayout member : struct.memberLayouts()) {
        assertFalse(member instanceof AddressLayout, struct + ": " + member);
      }
    }
  }

  @Test
  void versionAndStatuses() {
    assertEquals(
        "%d.%d.%d"
            .formatted(
                gatun_h.GATUN_VERSION_MAJOR(),
                gatun_h.GATUN_VERSION_MINOR(),
                gatun_h.GATUN_VERSION_PATCH()),
        Native.version());
    TreeSet<String> texts = new TreeSet<>();
    for (int status = gatun_h.GATUN_E_INDEX(); status <= 0; status++) {
      texts.add(Native.statusString(status));
    }
    assertEquals(13, texts.size(), texts.toString());
    assertEquals("unknown status", Native.statusString(1));
    assertTrue(GatunRuntime.isAvailable(Tier.PORTABLE));
  }
}

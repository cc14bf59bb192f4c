/**
 * Exact flash attention on off-heap tensors.
 *
 * <p>A {@link dev.gatun.GatunRuntime} holds the kernels and the threads, and makes operations: an
 * {@link dev.gatun.Attention} by an {@link dev.gatun.AttentionSpec}, a {@link dev.gatun.MatMul}.
 * They work on {@link dev.gatun.Tensor}s, which are views of native memory that the caller's arenas
 * own.
 *
 * {@snippet :
 * try (Arena arena = Arena.ofConfined()) {
 *   Tensor q = Tensor.allocate(arena, DType.FLOAT32, 1, 128, 8, 64);
 *   Tensor k = Tensor.allocate(arena, DType.FLOAT32, 1, 128, 8, 64);
 *   Tensor v = Tensor.allocate(arena, DType.FLOAT32, 1, 128, 8, 64);
 *   Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 128, 8, 64);
 *   // fill q, k and v
 *   GatunRuntime.shared().attention(AttentionSpec.standard()).forward(q, k, v, out);
 * }
 * }
 *
 * <p>Operations, specifications and tensors are immutable and shared freely. What a call writes
 * besides its outputs lies in a {@link dev.gatun.Workspace}, which the runtime lends to callers who
 * pass none.
 *
 * <p>The first use of native code loads the library: the exact file of the system property {@code
 * gatun.library} if it is set, else {@code libgatun.so} of {@code java.library.path}, else the copy
 * in the jar, which is extracted to a private folder ({@code gatun.cache} names another one than
 * the temporary folder's). {@code gatun.openblas} names a system's {@code libopenblas.so.0} to use
 * instead of the jar {@code org.bytedeco:openblas}.
 */
package dev.gatun;

package dev.gatun.model;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpServer;
import dev.gatun.Attention;
import dev.gatun.AttentionSpec;
import dev.gatun.Causal;
import dev.gatun.DType;
import dev.gatun.GatunRuntime;
import dev.gatun.Tensor;
import dev.gatun.nn.Sampling;
import dev.gatun.support.Llama2cFiles;
import dev.gatun.support.MaskedFolder;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The programs of docs/tasks; {@code DocsTest} compares them with the pages. */
class TaskPagesTest {

  @TempDir static Path folder;

  private static GatunRuntime runtime;

  @BeforeAll
  static void open() {
    runtime = GatunRuntime.builder().threads(2).build();
  }

  @AfterAll
  static void close() {
    runtime.close();
  }

  @Test
  void embed() throws IOException {
    EmbeddingModelSpec spec = EmbeddingModelSpec.MINILM;
    List<String> texts = List.of("A cat is sleeping.", "A kitten naps.", "Interest rates rise.");
    // example: task-embed
    try (TextEmbedder model = TextEmbedder.load(runtime, spec)) {
      float[] one = model.embed("A cat is sleeping.");
      float[][] all = model.embedAll(texts);
      // end
      assertArrayEquals(one, all[0]);
      // example: task-embed-options
      EmbeddingOptions options =
          new EmbeddingOptions()
              .onTooLong(OnTooLong.CHUNK) // not cut: in chunks, the mean weighted by tokens
              .dimensions(256) // for models that were trained for it (Matryoshka)
              .progress((done, of) -> System.err.printf("%d of %d texts%n", done, of));
      Embeddings embeddings = model.embedAll(texts, options);
      // end
      assertEquals(256, embeddings.vectors()[0].length);
    }
  }

  @Test
  void search() throws IOException {
    List<String> lines =
        List.of(
            "Knead the dough and let it rise.",
            "The telescope found water on another planet.",
            "Puppies need a walk.");
    // example: task-search
    try (TextEmbedder model = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM)) {
      float[][] vectors = model.embedPassages(lines);
      float[] query = model.embedQuery("my dog wants to go out");
      List<String> best =
          IntStream.range(0, lines.size())
              .boxed()
              .sorted(
                  Comparator.comparingDouble(
                      n -> -model.spec().similarity().score(query, vectors[n])))
              .map(lines::get)
              .toList();
      // end
      assertEquals("Puppies need a walk.", best.getFirst());
    }
  }

  @Test
  void generate() throws IOException {
    Path folder = Llama2cFiles.write(TaskPagesTest.folder);
    // example: task-generate
    try (LanguageModel model = LanguageModel.load(runtime, folder)) {
      String text = model.generate("Once upon a time", Sampling.greedy());
      // end
      assertEquals(text, model.generate("Once upon a time", Sampling.greedy()));
      List<String> questions = List.of("a", "the");
      StringBuilder said = new StringBuilder();
      // example: task-chat
      try (Session session = model.newSession()) {
        GenerationOptions options =
            GenerationOptions.of(20).withSampling(new Sampling(0.8, 40, 0.95, 1)).withStops("\n");
        for (String question : questions) {
          session.generate(question, options, piece -> said.append(piece) != null);
          said.append('\n');
        }
      }
      // end
      assertTrue(said.length() >= 2);
    }
  }

  @Test
  void answerFromTexts() throws IOException {
    Path folder = Llama2cFiles.write(TaskPagesTest.folder);
    List<String> notes = List.of("Door: 4711", "Bread: salt");
    String question = "the door?";
    // example: task-rag
    try (TextEmbedder embedder = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM);
        LanguageModel model = LanguageModel.load(runtime, folder)) {
      float[][] vectors = embedder.embedPassages(notes);
      float[] query = embedder.embedQuery(question);
      int best =
          IntStream.range(0, notes.size())
              .reduce(0, (a, b) -> dot(query, vectors[a]) >= dot(query, vectors[b]) ? a : b);
      String prompt = notes.get(best) + "\n\n" + question + "\n";
      String answer = model.generate(prompt, GenerationOptions.of(50)).text();
      // end
      assertTrue(prompt.startsWith("Door: 4711"), prompt);
      assertEquals(answer, model.generate(prompt, GenerationOptions.of(50)).text());
    }
  }

  private static double dot(float[] a, float[] b) {
    return Similarity.DOT.score(a, b);
  }

  @Test
  void service() throws Exception {
    // example: task-service
    TextEmbedder model = TextEmbedder.load(runtime, EmbeddingModelSpec.MINILM);
    HttpServer server = HttpServer.create(new InetSocketAddress("localhost", 0), 0);
    server.setExecutor(Executors.newFixedThreadPool(4)); // a native call holds its carrier
    server.createContext(
        "/embed",
        exchange -> {
          try (exchange) {
            String body = new String(exchange.getRequestBody().readAllBytes(), UTF_8);
            float[][] vectors = model.embedAll(body.lines().toList());
            byte[] json = Arrays.deepToString(vectors).getBytes(UTF_8);
            exchange.getResponseHeaders().set("Content-Type", "application/json");
            exchange.sendResponseHeaders(200, json.length);
            exchange.getResponseBody().write(json);
          }
        });
    server.start();
    // end
    try (HttpClient client = HttpClient.newHttpClient()) {
      URI uri = URI.create("http://localhost:%d/embed".formatted(server.getAddress().getPort()));
      HttpRequest request =
          HttpRequest.newBuilder(uri).POST(BodyPublishers.ofString("A cat.\nA dog.")).build();
      String json = client.send(request, BodyHandlers.ofString()).body();
      assertEquals(Arrays.deepToString(model.embedAll(List.of("A cat.", "A dog."))), json);
    } finally {
      // example: task-service-end
      server.stop(1);
      model.close(Duration.ofSeconds(10)); // waits for calls that run
      // end
      ((ExecutorService) server.getExecutor()).shutdown();
    }
  }

  @Test
  void fill() throws IOException {
    Path folder = MaskedFolder.write(TaskPagesTest.folder.resolve("masked"));
    // example: task-fill
    try (MaskedLanguageModel model = MaskedLanguageModel.load(runtime, folder)) {
      List<Fill> best = model.fill("the capital of france is [MASK] .", 5).getFirst();
      SparseVector weights = model.splade("the capital of france"); // of models trained for it
      // end
      assertEquals("paris", best.getFirst().token());
      assertTrue(weights.count() > 0);
    }
  }

  @Test
  void ownMemory() {
    float[] numbers = new float[4 * 8 * 64];
    for (int n = 0; n < numbers.length; n++) {
      numbers[n] = (float) Math.sin(n);
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment foreign = arena.allocate(4L * numbers.length, 64);
      MemorySegment.copy(
          numbers, 0, foreign, java.lang.foreign.ValueLayout.JAVA_FLOAT, 0, numbers.length);
      // example: task-memory
      Attention attention =
          runtime.attention(AttentionSpec.builder().causal(Causal.BOTTOM_RIGHT).build());
      Tensor q = Tensor.of(foreign, DType.FLOAT32, 1, 4, 8, 64); // [batch, tokens, heads, head dim]
      Tensor out = Tensor.allocate(arena, DType.FLOAT32, 1, 4, 8, 64);
      attention.forward(q, q, q, out);
      // end
      // The first token sees itself alone.
      float[] first = Arrays.copyOf(out.toFloatArray(), 8 * 64);
      assertArrayEquals(Arrays.copyOf(numbers, 8 * 64), first);
    }
  }
}

package dev.gatun;

/**
 * A failure of the native side that is not the caller's mistake: a library that cannot be loaded,
 * no memory, no thread. Wrong arguments are an {@link IllegalArgumentException}, wrong lifetimes an
 * {@link IllegalStateException}.
 */
public class GatunException extends RuntimeException {

  private static final long serialVersionUID = 1L;

  /** What the native library returned, or 0. */
  private final int status;

  /**
   * Makes an exception for a failure outside a native call, such as loading.
   *
   * @param message what was tried, why it failed and what to do
   * @param cause the reason, or null
   */
  public GatunException(String message, Throwable cause) {
    super(message, cause);
    this.status = 0;
  }

  /**
   * Makes an exception for a status of the native library.
   *
   * @param status the negative {@code GATUN_E_*} number
   * @param message what failed
   */
  public GatunException(int status, String message) {
    super(message);
    this.status = status;
  }

  /**
   * Returns the status that the native library returned.
   *
   * @return a negative {@code GATUN_E_*} number of {@code gatun.h}, or 0 if the failure lies
   *     outside a native call
   */
  public int status() {
    return status;
  }
}

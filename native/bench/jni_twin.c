/*
 * gatun_attention_forward through JNI, for the comparison with the Foreign Function API: by addresses as there, and
 * from arrays on the heap. Class dev.gatun.bench.peer.JniTwin.
 */
#include "gatunbench.h"

#include <jni.h>
#include <string.h>

static gatunbench_forward *forward;

JNIEXPORT void JNICALL Java_dev_gatun_bench_peer_JniTwin_bind(JNIEnv *env, jclass type, jlong address);
JNIEXPORT void JNICALL Java_dev_gatun_bench_peer_JniTwin_bind(JNIEnv *env, jclass type, jlong address) {
    (void)env, (void)type;
    memcpy(&forward, &address, sizeof forward);
}

static void *pointer(jlong address) {
    return (void *)(uintptr_t)address;
}

JNIEXPORT jint JNICALL Java_dev_gatun_bench_peer_JniTwin_forward(JNIEnv *env, jclass type, jlong context, jlong desc,
    jlong workspace, jlong size, jlong q, jlong k, jlong v, jlong out);
JNIEXPORT jint JNICALL Java_dev_gatun_bench_peer_JniTwin_forward(JNIEnv *env, jclass type, jlong context, jlong desc,
    jlong workspace, jlong size, jlong q, jlong k, jlong v, jlong out) {
    (void)env, (void)type;
    return forward(pointer(context), pointer(desc), pointer(workspace), size, pointer(q), pointer(k), pointer(v), NULL,
        NULL, pointer(out), NULL);
}

JNIEXPORT jint JNICALL Java_dev_gatun_bench_peer_JniTwin_forwardArrays(JNIEnv *env, jclass type, jlong context,
    jlong desc, jlong workspace, jlong size, jfloatArray q, jfloatArray k, jfloatArray v, jfloatArray out);
JNIEXPORT jint JNICALL Java_dev_gatun_bench_peer_JniTwin_forwardArrays(JNIEnv *env, jclass type, jlong context,
    jlong desc, jlong workspace, jlong size, jfloatArray q, jfloatArray k, jfloatArray v, jfloatArray out) {
    (void)type;
    jfloatArray arrays[4] = {q, k, v, out};
    void *data[4];
    int held = 0;
    while (held < 4 && (data[held] = (*env)->GetPrimitiveArrayCritical(env, arrays[held], NULL)) != NULL)
        held++;
    jint status = held < 4 ? GATUN_E_MEMORY
                           : forward(pointer(context), pointer(desc), pointer(workspace), size, data[0], data[1],
                                 data[2], NULL, NULL, data[3], NULL);
    while (held-- > 0)
        (*env)->ReleasePrimitiveArrayCritical(env, arrays[held], data[held], held == 3 ? 0 : JNI_ABORT);
    return status;
}

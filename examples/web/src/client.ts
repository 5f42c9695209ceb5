import { MethodOptions_IdempotencyLevel as IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import {
  type Client,
  Code,
  ConnectError,
  createClient,
  type Interceptor,
} from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "../gen/google/rpc/error_details_pb";
import { SavepointService } from "../gen/savepoint/v1/savepoint_pb";

const DEADLINE_MS = 10_000;
const MAX_ATTEMPTS = 4;

/**
 * What a service config does elsewhere; Connect has none. The contract itself says which method may
 * be repeated: GetSavepoint is marked NO_SIDE_EFFECTS. After an UNAVAILABLE ImportSavepoint its job
 * may have been changed, and only the caller can know whether to repeat it.
 */
const retryWithoutSideEffects: Interceptor = (next) => async (request) => {
  const repeatable = request.method.idempotency === IdempotencyLevel.NO_SIDE_EFFECTS;
  for (let attempt = 1; ; attempt++) {
    try {
      return await next(request);
    } catch (error) {
      const unavailable = ConnectError.from(error).code === Code.Unavailable;
      if (!repeatable || !unavailable || attempt === MAX_ATTEMPTS || request.signal.aborted) {
        throw error;
      }
      // Full jitter, so that many pages do not come back in step.
      const waitMs = Math.random() * Math.min(1_000, 100 * 2 ** attempt);
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }
};

// snippet:begin
export function connect(baseUrl: string): Client<typeof SavepointService> {
  const transport = createGrpcWebTransport({
    baseUrl,
    defaultTimeoutMs: DEADLINE_MS,
    interceptors: [retryWithoutSideEffects],
  });
  // For example: await connect(url).getSavepoint({ namespace, savepointId }, { timeoutMs: 5_000 })
  return createClient(SavepointService, transport);
}

export function detailsOf(failure: ConnectError) {
  return {
    errorInfo: failure.findDetails(ErrorInfoSchema)[0],
    badRequest: failure.findDetails(BadRequestSchema)[0],
    requestInfo: failure.findDetails(RequestInfoSchema)[0],
    retryInfo: failure.findDetails(RetryInfoSchema)[0],
  };
}
// snippet:end

package com.savepoint.flink;

import java.io.IOException;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.runtime.state.FunctionInitializationContext;
import org.apache.flink.runtime.state.FunctionSnapshotContext;
import org.apache.flink.streaming.api.checkpoint.CheckpointedFunction;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.util.Collector;

/**
 * A job that shows whether its source and its state went on where they were.
 *
 * <p>The source counts 0, 1, 2, …, and an operator behind it counts the numbers that it has seen
 * in its whole life. For each number it appends the line {@code position count} to a file. The
 * count is always one more than the position: if the source began anew but the state did not, it
 * is larger; if the state was lost, it is smaller.
 *
 * <p>Options, each with a value:
 *
 * <ul>
 *   <li>{@code --output FILE}: where the lines go. Required.
 *   <li>{@code --pause MILLISECONDS}: between two numbers, 5 by default.
 *   <li>{@code --hold MILLISECONDS}: how long each snapshot of the state takes, so that a
 *       savepoint stays in progress; 0 by default.
 *   <li>{@code --checkpoint MILLISECONDS}: between two checkpoints; none by default, so that only
 *       savepoints make snapshots.
 *   <li>{@code --operator ID}: the operator that the state belongs to, {@code count} by default.
 *   <li>{@code --fail BYTES}: each snapshot fails with a message of several lines and of at least
 *       so many bytes.
 * </ul>
 */
public final class CountingJob {
  /** The first line of such a message, and what is in the lines behind it. */
  static final String FIRST_LINE = "the snapshot fails as it was told to";

  static final String FURTHER_LINES = "further-lines-of-the-message";

  private CountingJob() {}

  private static final class Count extends KeyedProcessFunction<Integer, Long, Long>
      implements CheckpointedFunction {
    private final String output;
    private final long hold;
    private final int failure;
    private transient ValueState<Long> count;
    private transient Writer lines;

    Count(String output, long hold, int failure) {
      this.output = output;
      this.hold = hold;
      this.failure = failure;
    }

    @Override
    public void open(OpenContext context) throws IOException {
      count =
          getRuntimeContext().getState(new ValueStateDescriptor<>("count", Long.class));
      lines =
          Files.newBufferedWriter(
              Path.of(output), StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    @Override
    public void processElement(Long position, Context context, Collector<Long> out)
        throws IOException {
      Long before = count.value();
      long now = before == null ? 1 : before + 1;
      count.update(now);
      lines.write(position + " " + now + "\n");
      lines.flush();
      out.collect(position);
    }

    @Override
    public void snapshotState(FunctionSnapshotContext context) throws Exception {
      Thread.sleep(hold);
      if (failure > 0) {
        String line = "\n" + FURTHER_LINES;
        throw new IOException(FIRST_LINE + line.repeat(failure / line.length() + 1));
      }
    }

    @Override
    public void initializeState(FunctionInitializationContext context) {}

    @Override
    public void close() throws IOException {
      if (lines != null) {
        lines.close();
      }
    }
  }

  public static void main(String[] arguments) throws Exception {
    String output = null;
    String operator = "count";
    long pause = 5;
    long hold = 0;
    long checkpoint = 0;
    int failure = 0;
    for (int i = 0; i < arguments.length; i += 2) {
      String value = arguments[i + 1];
      switch (arguments[i]) {
        case "--output" -> output = value;
        case "--operator" -> operator = value;
        case "--pause" -> pause = Long.parseLong(value);
        case "--hold" -> hold = Long.parseLong(value);
        case "--checkpoint" -> checkpoint = Long.parseLong(value);
        case "--fail" -> failure = Integer.parseInt(value);
        default -> throw new IllegalArgumentException("unknown option " + arguments[i]);
      }
    }
    if (output == null) {
      throw new IllegalArgumentException("--output is required");
    }

    StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment();
    environment.setParallelism(1);
    if (checkpoint > 0) {
      environment.enableCheckpointing(checkpoint);
    }
    long wait = pause;
    environment
        .fromSequence(0, Long.MAX_VALUE - 1)
        .uid("numbers")
        // Behind a slow operator numbers would queue, and each savepoint would wait for them.
        .map(
            number -> {
              Thread.sleep(wait);
              return number;
            })
        .returns(Long.class)
        .uid("pace")
        .keyBy(number -> 0)
        .process(new Count(output, hold, failure))
        .uid(operator)
        .sinkTo(new DiscardingSink<>())
        .uid("end");
    environment.execute("counting");
  }
}

package com.savepoint.flink;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.minicluster.MiniCluster;
import org.apache.flink.runtime.minicluster.MiniClusterConfiguration;

/**
 * A Flink session cluster in this process: JobManager, TaskManager and REST interface, all on
 * loopback.
 *
 * <p>Usage: {@code OneProcessCluster PORT FOLDER [KEY=VALUE ...]}. Port 0 lets the system choose.
 * State, savepoints and uploaded jars go below the folder, where a later cluster finds the jars
 * again. Each {@code KEY=VALUE} is an option of Flink. The line {@code serving URL} on standard
 * output says that REST calls are taken.
 */
public final class OneProcessCluster {
  private OneProcessCluster() {}

  public static void main(String[] arguments) throws Exception {
    String port = arguments[0];
    Path folder = Path.of(arguments[1]).toAbsolutePath();

    Configuration options = new Configuration();
    for (String address :
        new String[] {
          "rest.address",
          "rest.bind-address",
          "jobmanager.rpc.address",
          "jobmanager.bind-host",
          "taskmanager.host",
          "taskmanager.bind-host"
        }) {
      options.setString(address, "127.0.0.1");
    }
    options.setString("rest.port", port);
    options.setString("rest.bind-port", port);
    for (Map.Entry<String, String> place :
        Map.of(
                "execution.checkpointing.dir", "checkpoints",
                "execution.checkpointing.savepoint-dir", "savepoints")
            .entrySet()) {
      Path path = Files.createDirectories(folder.resolve(place.getValue()));
      options.setString(place.getKey(), path.toUri().toString());
    }
    options.setString("web.upload.dir", Files.createDirectories(folder.resolve("jars")).toString());
    // The default of 64 MiB each is for real work.
    for (String memory : new String[] {"network.min", "network.max", "managed.size"}) {
      options.setString("taskmanager.memory." + memory, "16mb");
    }
    for (int i = 2; i < arguments.length; i++) {
      String[] option = arguments[i].split("=", 2);
      options.setString(option[0], option[1]);
    }

    MiniCluster cluster =
        new MiniCluster(
            new MiniClusterConfiguration.Builder()
                .setConfiguration(options)
                .setNumTaskManagers(1)
                .setNumSlotsPerTaskManager(8)
                .build());
    // This thread can end: those of the cluster keep the process alive until it is killed.
    cluster.start();
    System.out.println("serving " + cluster.getRestAddress().get());
  }
}

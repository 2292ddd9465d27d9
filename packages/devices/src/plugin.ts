import { DeviceModel, definePlugin } from "@cpr/core";
import {
  AcpiPowerModel,
  CmosRtcModel,
  DebugPortModel,
  I8042Model,
  IoapicModel,
  LocalApicModel,
  PciHostModel,
  Pic8259Model,
  Pit8254Model,
  PvpanicModel,
  ResetControlModel,
  Uart16550Model,
  VirtConsoleModel,
  VirtioBalloonPciModel,
  VirtioBlockPciModel,
  VirtioNetworkPciModel,
  VirtioRngModel,
  VirtioSerialPciModel,
  VirtSerialPortModel,
  VmgenidModel,
} from "./index.ts";

/** Registers the device models of the PC. */
export default definePlugin({
  name: "@cpr/devices",
  setup(context) {
    context.contribute(DeviceModel, AcpiPowerModel);
    context.contribute(DeviceModel, CmosRtcModel);
    context.contribute(DeviceModel, DebugPortModel);
    context.contribute(DeviceModel, I8042Model);
    context.contribute(DeviceModel, IoapicModel);
    context.contribute(DeviceModel, LocalApicModel);
    context.contribute(DeviceModel, PciHostModel);
    context.contribute(DeviceModel, Pic8259Model);
    context.contribute(DeviceModel, Pit8254Model);
    context.contribute(DeviceModel, PvpanicModel);
    context.contribute(DeviceModel, ResetControlModel);
    context.contribute(DeviceModel, Uart16550Model);
    context.contribute(DeviceModel, VirtioRngModel);
    context.contribute(DeviceModel, VirtioBlockPciModel);
    context.contribute(DeviceModel, VirtConsoleModel);
    context.contribute(DeviceModel, VirtioBalloonPciModel);
    context.contribute(DeviceModel, VirtioSerialPciModel);
    context.contribute(DeviceModel, VirtSerialPortModel);
    context.contribute(DeviceModel, VirtioNetworkPciModel);
    context.contribute(DeviceModel, VmgenidModel);
  },
});
